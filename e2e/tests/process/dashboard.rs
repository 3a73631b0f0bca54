//! The Grafana dashboard: Prometheus understands all that it asks, and every metric in it is one that there is.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use groupcache_e2e::page;
use groupcache_e2e::program;
use groupcache_e2e::promql;
use groupcache_e2e::scenario::Scenario;
use serde_json::{Value, json};

const DASHBOARD: &str = "charts/groupcache-operator/dashboards/groupcache.json";
/// What this page documents is compared with what the binaries export, by tests beside the metrics.
const METRICS: &str = "docs/operations/metrics.md";
/// What a scrape adds to every metric, and what a histogram's buckets have.
const OF_THE_SCRAPE: [&str; 3] = ["namespace", "instance", "le"];
/// What Grafana fills in by itself.
const OF_GRAFANA: [(&str, &str); 2] = [("$__rate_interval", "5m"), ("$__range", "1h")];
const ROWS: [&str; 6] = ["Traffic", "Loads", "Memory", "Invalidation", "Ring", "Operator"];

fn dashboard() -> Value {
    serde_json::from_str(&page::file(DASHBOARD).expect("the dashboard")).expect("JSON")
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().expect("panels")
}

fn variables(dashboard: &Value) -> &[Value] {
    dashboard["templating"]["list"].as_array().expect("variables")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The metrics of the page, each with its labels; a histogram as its three series.
fn documented() -> BTreeMap<String, Vec<String>> {
    let page = page::file(METRICS).expect("the page of metrics");
    let mut metrics = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", name, kind, labels, ..] = cells.as_slice() else { continue };
        let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else { continue };
        let labels: Vec<String> = labels
            .split(',')
            .map(|label| label.trim().to_owned())
            .filter(|label| !label.is_empty())
            .collect();
        let endings: &[&str] = if *kind == "histogram" { &["_bucket", "_count", "_sum"] } else { &[""] };
        for ending in endings {
            metrics.insert(format!("{name}{ending}"), labels.clone());
        }
    }
    assert!(metrics.len() > 60, "{METRICS} documents only {metrics:?}");
    metrics
}

/// The expression as Prometheus gets it: all variables filled in.
fn filled_in(expression: &str, dashboard: &Value) -> String {
    let mut expression = expression.to_owned();
    for (variable, value) in OF_GRAFANA {
        expression = expression.replace(variable, value);
    }
    for variable in variables(dashboard) {
        expression = expression.replace(&format!("${}", text(&variable["name"])), ".*");
    }
    assert!(!expression.contains('$'), "no variable of the dashboard fills this in: {expression}");
    expression
}

/// Every expression with the place where it stands, and the legends that name labels of what it gives.
fn expressions(dashboard: &Value) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for panel in panels(dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = filled_in(text(&target["expr"]), dashboard);
            found.push((
                text(&panel["title"]).to_owned(),
                expression,
                text(&target["legendFormat"]).to_owned(),
            ));
        }
    }
    for variable in variables(dashboard) {
        // label_values(METRIC, LABEL): what to choose from.
        if let Some(asked) = text(&variable["query"]).strip_prefix("label_values(") {
            let (metric, label) = asked.trim_end_matches(')').rsplit_once(", ").expect("METRIC, LABEL");
            let expression = format!("count by ({label}) ({})", filled_in(metric, dashboard));
            found.push((format!("variable {}", text(&variable["name"])), expression, String::new()));
        }
    }
    found
}

/// The labels that a legend shows: `{{label}}`.
fn shown(legend: &str) -> impl Iterator<Item = &str> {
    legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(label, _)| label.trim())
}

/// Turned red by: an expression that does not parse, a variable that is not there, a metric or a label that no page documents.
#[test]
fn the_dashboard_asks_only_for_metrics_that_there_are() {
    let scenario = Scenario::begin("dashboard");
    let dashboard = dashboard();
    let documented = documented();
    let expressions = expressions(&dashboard);
    for (place, expression, legend) in &expressions {
        let names = promql::names(expression);
        assert!(!names.metrics.is_empty(), "{place} asks for no metric: {expression}");
        let mut labels: Vec<&str> = OF_THE_SCRAPE.to_vec();
        for metric in &names.metrics {
            let known = documented.get(metric);
            let known =
                known.unwrap_or_else(|| panic!("{place} asks for {metric}, which is not in {METRICS}"));
            labels.extend(known.iter().map(String::as_str));
        }
        for label in names.labels.iter().map(String::as_str).chain(shown(legend)) {
            assert!(
                labels.contains(&label),
                "{place} names the label {label}, which {expression} does not have"
            );
        }
    }
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(
            |(index, (_, expression, _))| json!({"record": format!("dashboard:{index}"), "expr": expression}),
        )
        .collect();
    let folder = tempfile::tempdir().unwrap();
    // JSON is YAML.
    let file = json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string();
    fs::write(folder.path().join("rules.yaml"), file).unwrap();
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "rules", "rules.yaml"]).current_dir(folder.path());
    let judged = program::run(&mut promtool, None).unwrap();
    assert!(judged.success, "promtool says: {}{}", judged.output, judged.errors);
    assert!(expressions.len() > 50, "only {} expressions were found", expressions.len());
    scenario.end(&format!(
        "promtool understands all {} expressions, all metrics are documented",
        expressions.len()
    ));
}

/// Turned red by: a panel without an explanation or a source, two under one number, two in one place, a row that is missing.
#[test]
fn every_panel_explains_itself_and_has_a_place_of_its_own() {
    let dashboard = dashboard();
    let panels = panels(&dashboard);
    let rows: Vec<&str> =
        panels.iter().filter(|panel| panel["type"] == "row").map(|panel| text(&panel["title"])).collect();
    assert_eq!(rows, ROWS);
    let mut taken = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for panel in panels {
        let title = text(&panel["title"]);
        let number = panel["id"].as_u64().unwrap();
        assert_eq!(numbers.insert(number, title), None, "{title} has another panel's number {number}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} does not fit into the width of 24");
        for square in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert_eq!(taken.insert(square, title), None, "{title} lies on another panel");
        }
        if panel["type"] != "row" {
            assert!(text(&panel["description"]).len() > 20, "{title} is not explained");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title} has a source of its own");
        }
    }
}
