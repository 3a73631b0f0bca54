//! The loader of the page `docs/your-own-loader.md`, run on this machine as the page says.

use std::net::TcpListener;
use std::process::Command;

use groupcache_e2e::page;
use groupcache_e2e::program;
use groupcache_e2e::scenario::Scenario;

/// Turned red by: a loader on the page that does not start, or answers something else than the page shows.
#[test]
fn the_loader_of_the_page_runs_as_the_page_says() {
    let scenario = Scenario::begin("own_loader");
    let page = page::file("docs/your-own-loader.md").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    // The page's port may be taken on this machine.
    let script = page::script(&page, "sh local").unwrap().replace("8000", &port);

    let said = program::run(Command::new("bash").args(["-c", &script]).current_dir(page::workspace()), None)
        .unwrap();

    assert!(said.success, "the page's commands failed: {}{}", said.output, said.errors);
    scenario.end("the Python loader of docs/your-own-loader.md answers as the page says");
}
