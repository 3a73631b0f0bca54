//! Pauses of a random length, so that runs with other seeds meet other orders.

use std::time::Duration;

/// A pause, mostly none.
pub(crate) async fn shake() {
    match rand::random_range(0..20) {
        0 => tokio::time::sleep(Duration::from_millis(rand::random_range(1..5))).await,
        1..8 => tokio::task::yield_now().await,
        _ => {}
    }
}
