//! The alerts as Prometheus itself judges them, and the page that says what to do about each.

use std::process::Command;

use groupcache_e2e::page::{self, workspace};
use groupcache_e2e::program;
use groupcache_e2e::scenario::Scenario;

/// Where the rules are, and when each must fire.
const FOLDER: &str = "charts/groupcache-operator/alerts";
/// Where each says that its runbook is, unless the chart is told of another place.
const RUNBOOKS: &str = "https://groupcache.dev/docs/operations/alerts.md";

/// Turned red by: a rule that does not parse or fires at another time than its test says, an alert without a test, one without a runbook, or one on a metric or a
/// condition that there is not.
#[test]
fn every_alert_fires_when_it_should_and_has_a_runbook() {
    let scenario = Scenario::begin("alerts");
    let folder = workspace().join(FOLDER);
    for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "tests.yaml"]] {
        let mut promtool = Command::new("promtool");
        let judged = program::run(promtool.args(arguments).current_dir(&folder), None).unwrap();
        assert!(judged.success, "promtool {arguments:?} says: {}{}", judged.output, judged.errors);
    }
    let file = |name: &str| page::file(&format!("{FOLDER}/{name}")).unwrap();
    let (rules, tests) = (file("rules.yaml"), file("tests.yaml"));
    let reference = |name: &str| page::file(&format!("docs/operations/{name}")).unwrap();
    let runbooks = reference("alerts.md");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 19, "{alerts:?}");
    for alert in &alerts {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "no test says when {alert} fires");
        assert!(runbooks.contains(&format!("## {alert}\n")), "docs/operations/alerts.md lacks {alert}");
        let link = format!("runbook_url: {RUNBOOKS}#{}\n", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} does not name its runbook");
    }
    let (metrics, conditions) = (reference("metrics.md"), reference("conditions.md"));
    for line in rules.lines().filter(|line| !line.trim().starts_with('#')) {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for metric in words.filter(|word| word.starts_with("groupcache_")) {
            assert!(metrics.contains(&format!("| `{metric}` | ")), "there is no {metric}");
        }
        if line.contains("_cluster_condition{") {
            for word in line.split('"').skip(1).step_by(2) {
                assert!(conditions.contains(&format!("| {word} | ")), "no condition says {word}");
            }
        }
    }
    let headings = runbooks.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(headings, alerts.len(), "the page has a runbook of no alert");
    scenario.end(&format!(
        "promtool agrees with the {} alerts and their tests; each has a runbook",
        alerts.len()
    ));
}
