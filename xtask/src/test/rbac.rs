//! The operator's rights are the least: nothing it asked for was forbidden, and nothing that it may do was never done.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::install;
use crate::tools::run;

/// Rights that may go unused in a whole run, each with its reason: as [`Right`] is written.
const RARE: &[(&str, &str)] = &[];

/// What may be forbidden: an operator that is uninstalled renews its Lease until it stops, and its roles go first. One that lacked these rights while it
/// is installed would never lead, and no scenario would pass.
const LAST: [&str; 2] = ["get leases (coordination.k8s.io)", "update leases (coordination.k8s.io)"];

/// What to do about either kind of fault.
const ADVICE: &str = "the roles are in charts/groupcache-operator/templates/rbac.yaml: grant what is missing; take out what is not \
                      used, use it in a scenario, or excuse it in xtask/src/test/rbac.rs";

/// One thing that can be allowed: a verb on a kind of objects, by name or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    /// With its part, as in `pods/eviction`.
    resource: String,
    verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, " ({})", self.group) }
    }
}

/// What the API server noted of one account.
#[derive(Debug, Default)]
struct Account {
    used: BTreeSet<Right>,
    /// With when and where.
    forbidden: BTreeSet<(Right, String)>,
}

/// Compares what the API server noted of the operator's account, since the cluster was started, with the roles that are bound to it. Whether all is used can be said only
/// of a `whole` run.
///
/// # Errors
/// Names every right that is missing or needless.
pub(crate) fn check(cluster: &Cluster, whole: bool) -> Result<()> {
    let user = format!("system:serviceaccount:{}:{}", install::NAMESPACE, install::RELEASE);
    let mut account = Account::default();
    for log in logs(&cluster.logs())? {
        account.read(&log, &user)?;
    }
    if account.used.is_empty() {
        bail!(
            "the API server noted no request of {user}: is there an audit log, and is that the operator's account?"
        );
    }
    let get = |what: &str| {
        let mut kubectl = cluster.kubectl();
        let said = run::output(kubectl.args(["get", what, "--all-namespaces", "--output", "json"]))?;
        serde_json::from_str(&said).with_context(|| format!("reading {what}"))
    };
    let granted = granted(&get("clusterrolebindings,rolebindings")?, &get("clusterroles,roles")?);
    let faults = faults(&account, &granted, if whole { Some(RARE) } else { None });
    if faults.is_empty() { Ok(()) } else { bail!("{}\n{ADVICE}", faults.join("\n")) }
}

/// The texts of the audit log and of what was cut off it when it grew.
fn logs(folder: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("audit") && name.ends_with(".log") {
            texts.push(fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?);
        }
    }
    Ok(texts)
}

impl Account {
    /// Takes up what this log says of the user.
    fn read(&mut self, log: &str, user: &str) -> Result<()> {
        // The last line may be half written: the API server runs on.
        for line in log.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let event: Value = serde_json::from_str(line).context("a line of the audit log is no JSON")?;
            if event["user"]["username"] == user {
                self.note(&event);
            }
        }
        Ok(())
    }

    fn note(&mut self, event: &Value) {
        let object = &event["objectRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // What is no object, such as the version, is open to everybody.
        if !object.is_object() {
            return;
        }
        let part = object["subresource"].as_str().map_or(String::new(), |part| format!("/{part}"));
        let right = Right {
            group: text(&object["apiGroup"]),
            resource: text(&object["resource"]) + &part,
            verb: text(&event["verb"]),
        };
        // Not the status 403 alone: so is answered, too, what comes into a namespace that is being deleted.
        if event["annotations"]["authorization.k8s.io/decision"] == "forbid" {
            let when = text(&event["requestReceivedTimestamp"]);
            let place = format!("{when} {}/{}", text(&object["namespace"]), text(&object["name"]));
            self.forbidden.insert((right, place));
            return;
        }
        // A server-side apply that makes the object is let pass only with the right to create it.
        if right.verb == "patch" && event["responseStatus"]["code"] == 201 {
            self.used.insert(Right { verb: "create".to_owned(), ..right.clone() });
        }
        self.used.insert(right);
    }
}

/// What the roles bound to the operator's account grant, each with the role's name.
fn granted(bindings: &Value, roles: &Value) -> BTreeSet<(Right, String)> {
    let items = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
    let words = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let is_operator = |subject: &Value| {
        subject["kind"] == "ServiceAccount"
            && subject["name"] == install::RELEASE
            && subject["namespace"] == install::NAMESPACE
    };
    let mut granted = BTreeSet::new();
    for binding in items(bindings) {
        if !binding["subjects"].as_array().into_iter().flatten().any(is_operator) {
            continue;
        }
        let to = &binding["roleRef"];
        let is_bound = |role: &&Value| {
            let within = to["kind"] == "ClusterRole"
                || role["metadata"]["namespace"] == binding["metadata"]["namespace"];
            role["kind"] == to["kind"] && role["metadata"]["name"] == to["name"] && within
        };
        for role in items(roles).iter().filter(is_bound) {
            let name = role["metadata"]["name"].as_str().unwrap_or_default();
            for rule in role["rules"].as_array().into_iter().flatten() {
                for group in words(&rule["apiGroups"]) {
                    for resource in words(&rule["resources"]) {
                        granted.extend(words(&rule["verbs"]).into_iter().map(|verb| {
                            let right = Right { group: group.clone(), resource: resource.clone(), verb };
                            (right, name.to_owned())
                        }));
                    }
                }
            }
        }
    }
    granted
}

/// What is wrong, one line each; without `rare`, rights that were not used are none of it.
fn faults(
    account: &Account,
    granted: &BTreeSet<(Right, String)>,
    rare: Option<&[(&str, &str)]>,
) -> Vec<String> {
    let forbidden = account.forbidden.iter().filter(|(right, _)| !LAST.contains(&right.to_string().as_str()));
    let mut faults: Vec<String> =
        forbidden.map(|(right, place)| format!("forbidden: {right}, at {place}")).collect();
    let Some(rare) = rare else { return faults };
    let excused = |right: &Right| rare.iter().any(|(name, _)| *name == right.to_string());
    let needless = granted.iter().filter(|(right, _)| !account.used.contains(right) && !excused(right));
    faults
        .extend(needless.map(|(right, role)| format!("granted and never used: {right}, by the role {role}")));
    // An excuse for what is not granted hides the next one who grants it.
    let stale = rare.iter().filter(|(name, _)| !granted.iter().any(|(right, _)| right.to_string() == *name));
    faults.extend(
        stale.map(|(name, _)| format!("xtask/src/test/rbac.rs excuses {name}, which no role grants")),
    );
    faults
}

#[cfg(test)]
mod tests;
