//! Who owns a key: members, versions, snapshots and ranked owners.
