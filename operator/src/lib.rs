//! The control plane: makes a cluster's pods, decides who is in the ring, and tells every node.
//!
//! Start at [`reconcile`]: it is the order of everything. Around it:
//!
//! * [`observe`] reads what there is; [`endpoints`] and [`pods`] make facts of it.
//! * [`configuration`] and [`plan`] say what there should be; [`apply`] makes it so, unless it [`applied`] that before,
//!   and [`ownership`] keeps it from what is not ours; [`orphans`] removes what is no longer asked for, [`monitors`] sees to a kind that may not exist.
//! * [`roster`] says who the members are, [`ledger`] which version that is; [`push`] tells the nodes, [`report`] keeps answers.
//! * [`certificates`] are those of the cluster port: who issues them, and how one authority replaces another while everything runs.
//! * [`roll`] chooses pods to replace, one at a time, and [`evict`] does it; [`status`], [`conditions`] and [`events`] tell the user.
//! * [`context`] is what all of it is handed and what is remembered between two looks.
//! * [`lease`] says who may write, [`definition`] whether CacheClusters are served; [`operator`] wires all of it, [`check`] looks whether it works; [`names`], [`args`] and [`metrics`] are the words.
//!
//! It is never on the path of a Get: nodes that it does not reach go on with the last membership. It holds no cache, and it
//! changes no field of a spec.

pub mod applied;
pub mod apply;
pub mod args;
pub mod certificates;
pub mod check;
pub mod children;
pub mod conditions;
pub mod configuration;
pub mod context;
pub mod definition;
pub mod endpoints;
pub mod events;
pub mod evict;
pub mod guarded;
pub mod lease;
pub mod ledger;
pub mod metrics;
pub mod monitors;
pub mod mounted;
pub mod names;
pub mod observe;
pub mod operator;
pub mod orphans;
pub mod ownership;
pub mod plan;
pub mod pods;
pub mod push;
pub mod put_off;
pub mod reconcile;
pub mod refused_pods;
pub mod report;
pub mod roll;
pub mod roster;
pub mod status;
pub mod wakes;
