//! Answers to a push that wait for news: the operator hears of it at once, and a node at rest costs it nothing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use groupcache_proto::cluster::ApplyResponse;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

/// The longest that an answer is kept back.
const LONGEST: Duration = Duration::from_secs(60);

/// Between two looks at what tells nobody of its changes: certificates, loaders, and whether the node drains.
const LOOK: Duration = Duration::from_secs(1);

/// How long an answer may be kept back.
pub(crate) fn wait(millis: u32) -> Duration {
    Duration::from_millis(millis.into()).min(LONGEST)
}

/// The state that an answer tells of. What a failing loader says may differ with each load, and is not part of it.
pub(crate) fn state(answer: &ApplyResponse) -> u64 {
    let mut hasher = DefaultHasher::new();
    let version = answer.version.map(|version| (version.epoch, version.sequence));
    (version, answer.ring_hash, answer.boot, &answer.certificate, &answer.authorities).hash(&mut hasher);
    for loader in &answer.loaders {
        (&loader.group, &loader.loader, loader.reach).hash(&mut hasher);
    }
    hasher.finish().max(1)
}

/// The first answer whose state is not the one known; or whatever the answer is when the wait is over, or the node drains: its ports are to close.
pub(crate) async fn kept_back<T>(
    known: u64,
    wait: Duration,
    mut changes: watch::Receiver<T>,
    drains: impl Fn() -> bool,
    now: impl Fn() -> ApplyResponse,
) -> ApplyResponse {
    let until = Instant::now() + wait;
    loop {
        // Before the answer is read: a change between the two is not lost.
        changes.mark_unchanged();
        let answer = now();
        if answer.state != known || drains() || Instant::now() >= until {
            return answer;
        }
        let look = async {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { sleep(LOOK).await },
                () = sleep(LOOK) => {}
            }
        };
        let _ = timeout_at(until, look).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use groupcache_proto::cluster::{LoaderReach, LoaderState};

    use super::*;

    const WAIT: Duration = Duration::from_secs(30);

    fn standing(boot: u64) -> ApplyResponse {
        let answer = ApplyResponse { boot, ..ApplyResponse::default() };
        ApplyResponse { state: state(&answer), ..answer }
    }

    #[test]
    fn what_a_loader_says_of_its_failure_is_no_news_and_that_it_fails_is() {
        let said = |reach: LoaderReach, failure: &str| {
            let (group, loader, failure) = ("users".to_owned(), "people".to_owned(), failure.to_owned());
            let loader = LoaderState { group, loader, reach: reach.into(), failure };
            state(&ApplyResponse { loaders: vec![loader], ..ApplyResponse::default() })
        };
        assert_eq!(said(LoaderReach::Fails, "first"), said(LoaderReach::Fails, "second"));
        assert_ne!(said(LoaderReach::Fails, ""), said(LoaderReach::Answers, ""));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_no_news_waits_and_then_comes() {
        let (_keep, changes) = watch::channel(());
        let began = Instant::now();
        let answer = kept_back(standing(1).state, WAIT, changes, || false, || standing(1)).await;
        assert_eq!((answer.boot, began.elapsed()), (1, WAIT));
    }

    #[tokio::test(start_paused = true)]
    async fn news_comes_at_once_and_so_does_an_answer_to_who_knows_nothing() {
        let (_keep, changes) = watch::channel(());
        let began = Instant::now();
        assert_eq!(kept_back(0, WAIT, changes.clone(), || false, || standing(1)).await.boot, 1);
        assert_eq!(kept_back(standing(2).state, WAIT, changes, || false, || standing(1)).await.boot, 1);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_is_told_ends_the_wait_at_once_and_one_that_is_not_within_a_look() {
        for (told, latest) in [(true, Duration::ZERO), (false, LOOK)] {
            let (tell, changes) = watch::channel(());
            let boot = AtomicU64::new(1);
            let later = async {
                sleep(Duration::from_millis(1500)).await;
                boot.store(2, Ordering::Relaxed);
                if told {
                    tell.send_replace(());
                }
                Instant::now()
            };
            let now = || standing(boot.load(Ordering::Relaxed));
            let (answer, changed) =
                tokio::join!(kept_back(standing(1).state, WAIT, changes, || false, now), later);
            assert_eq!(answer.boot, 2);
            assert!(changed.elapsed() <= latest, "{:?} after the change", changed.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_drains_keeps_nothing_back() {
        let (_keep, changes) = watch::channel(());
        let began = Instant::now();
        kept_back(standing(1).state, WAIT, changes, || began.elapsed() >= LOOK, || standing(1)).await;
        assert_eq!(began.elapsed(), LOOK);
    }
}
