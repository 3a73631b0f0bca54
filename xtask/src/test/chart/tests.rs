//! Every value of the chart is rendered by some step.

use super::*;
use crate::tools::host;

#[test]
fn every_value_of_the_chart_is_rendered_by_some_test() {
    let values = fs::read_to_string(install::chart().join("values.yaml")).unwrap();
    // What is a label's or a resource's own name is no value of the chart's.
    let open = ["dashboard.labels.grafana_dashboard", "resources.requests.memory"];
    let unrendered: Vec<String> =
        unrendered(&values).into_iter().filter(|path| !open.contains(&path.as_str())).collect();
    assert_eq!(unrendered, Vec::<String>::new());
    assert!(leaves(&values).contains(&"crds.keep".to_owned()));
    assert_eq!(self::unrendered("a:\n  # why\n  b: 1\nreplicas: 2\n"), ["a.b"]);
}

/// Turned red by: an example on Artifact Hub that is not one of ours.
#[test]
fn the_catalogue_shows_an_example_that_is_tested() {
    let chart = fs::read_to_string(install::chart().join("Chart.yaml")).unwrap();
    let example = fs::read_to_string(host::workspace().join("examples/cacheclusters/minimal.yaml")).unwrap();
    let lines = example.lines().filter(|line| !line.trim_start().starts_with('#')).enumerate();
    let shown: String =
        lines.map(|(at, line)| format!("    {} {line}\n", if at == 0 { "-" } else { " " })).collect();
    assert!(chart.contains(&format!("  artifacthub.io/crdsExamples: |\n{shown}")), "it lacks\n{shown}");
}

/// The values of the chart, each as `a.b`, that are set by nothing in [`RENDERED`] and [`MONITORED`]: what is never rendered may be broken.
fn unrendered(values: &str) -> Vec<String> {
    let rendered = RENDERED.iter().flat_map(|(_, values)| values.iter()).chain(MONITORED);
    let set: Vec<&str> = rendered.filter_map(|value| value.split('=').next()).collect();
    let is_set = |path: &str| {
        set.iter().any(|set| {
            set.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    };
    leaves(values).into_iter().filter(|path| !is_set(path)).collect()
}

/// The paths of the values that hold no further ones of the chart's own.
fn leaves(values: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = values
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .collect();
    let mut path: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let depth = indent(line) / 2;
        path.truncate(depth);
        path.push(line.trim().split(':').next().unwrap_or_default());
        let has_more = lines.get(at + 1).is_some_and(|next| indent(next) / 2 > depth);
        if !has_more {
            found.push(path.join("."));
        }
    }
    found
}
