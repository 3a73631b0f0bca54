//! The cache node: adapters (transport, membership, loaders, doors) around a group, and their wiring.
