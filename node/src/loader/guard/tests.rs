//! The guard around loaders that hang, fail and recover, on a paused clock.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use groupcache_group::loader::FnLoader;
use groupcache_group::value::Key;
use parking_lot::Mutex;

use super::*;
use crate::configuration::{BreakerSettings, LoaderKind};
use crate::loader::failure::UNKNOWN;

fn settings(max_in_flight: usize, max_queued: usize, max_attempts: u32) -> LoaderSettings {
    LoaderSettings {
        name: "slow".into(),
        kind: LoaderKind::Grpc { target: "x:1".into(), authority: None },
        timeout: Duration::from_secs(1),
        max_in_flight,
        max_queued,
        queue_timeout: Duration::from_millis(250),
        max_attempts,
        breaker: BreakerSettings {
            failure_percent: 50,
            window: Duration::from_secs(10),
            open: Duration::from_secs(5),
        },
    }
}

fn guarding(inner: impl Loader, settings: &LoaderSettings) -> Arc<Guard> {
    Arc::new(Guard::new(Box::new(inner), &Arc::from("g"), settings, LoadMetrics::default()))
}

fn guard(max_in_flight: usize, max_queued: usize) -> Arc<Guard> {
    let never = FnLoader::new("slow", |_| std::future::pending());
    guarding(never, &settings(max_in_flight, max_queued, 1))
}

fn request(key: &str) -> LoadRequest {
    let key = Key::new(key.to_owned(), 10).unwrap();
    LoadRequest { group: "g".into(), key, deadline: Instant::now() + Duration::from_secs(60) }
}

fn ask(guard: &Arc<Guard>) -> tokio::task::JoinHandle<Result<Loaded, LoadError>> {
    let guard = Arc::clone(guard);
    tokio::spawn(async move {
        let request = request("k");
        let _turn = guard.admit(&request).await?;
        guard.load(request).await
    })
}

/// A loader whose answers are given in order of the calls, the last one for ever; it counts the calls.
fn scripted(
    answers: Vec<Result<Loaded, LoadError>>,
    settings: &LoaderSettings,
) -> (Arc<Guard>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let inner = FnLoader::new("script", move |_| {
        let call = count.fetch_add(1, Ordering::Relaxed);
        let answer = answers.get(call).or(answers.last()).cloned().unwrap();
        async move { answer }
    });
    (guarding(inner, settings), calls)
}

fn down() -> Result<Loaded, LoadError> {
    Err(failed("script", UNAVAILABLE, "it is down"))
}

#[tokio::test(start_paused = true)]
async fn a_load_that_never_answers_ends_at_the_timeout() {
    let started = Instant::now();
    let error = ask(&guard(1, 1)).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "loader slow: no answer within 1000 ms");
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn beyond_places_and_queue_a_load_is_refused_at_once() {
    let guard = guard(2, 1);
    let started = Instant::now();
    let places = [ask(&guard), ask(&guard)];
    tokio::task::yield_now().await;
    assert_eq!(guard.in_flight(), 2);
    let queued = ask(&guard);
    tokio::task::yield_now().await;
    let refused = ask(&guard).await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("its queue is full"), "{refused}");
    assert_eq!(started.elapsed(), Duration::ZERO);
    let late = queued.await.unwrap().unwrap_err();
    assert!(late.to_string().contains("no place became free in time"), "{late}");
    assert_eq!(started.elapsed(), Duration::from_millis(250));
    for place in places {
        assert!(matches!(place.await.unwrap(), Err(LoadError::Failed { .. })));
    }
    assert_eq!(guard.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_may_pass_is_tried_again_and_others_are_final() {
    let (guard, calls) = scripted(vec![down(), down(), Ok(Loaded::value("v"))], &settings(1, 1, 3));
    let started = Instant::now();
    assert_eq!(guard.load(request("k")).await, Ok(Loaded::value("v")));
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(35) && took <= Duration::from_millis(80), "{took:?}");

    let (guard, calls) = scripted(vec![down()], &settings(1, 1, 3));
    let error = guard.load(request("k")).await.unwrap_err();
    assert_eq!(error.to_string(), "loader script: it is down (after 3 tries)");
    assert_eq!(calls.load(Ordering::Relaxed), 3);

    let (guard, calls) = scripted(vec![Err(failed("script", UNKNOWN, "no"))], &settings(1, 1, 3));
    assert_eq!(guard.load(request("k")).await.unwrap_err().to_string(), "loader script: no");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn no_try_is_begun_that_could_not_end_in_time() {
    let (guard, calls) = scripted(vec![down()], &settings(1, 1, 5));
    let started = Instant::now();
    let deadline = started + Duration::from_millis(12);
    assert!(guard.load(LoadRequest { deadline, ..request("k") }).await.is_err());
    assert_eq!((calls.load(Ordering::Relaxed), started.elapsed()), (1, Duration::ZERO));
    // One that hangs has used up the time of all tries.
    let error = guarding(FnLoader::new("slow", |_| std::future::pending()), &settings(1, 1, 5))
        .load(request("k"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "loader slow: no answer within 1000 ms");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_down_gets_a_fifth_more_calls_at_most() {
    let mut settings = settings(1, 1, 3);
    // As good as none, so that every load is sent.
    settings.breaker.window = Duration::from_millis(10);
    let (guard, calls) = scripted(vec![down()], &settings);
    for _ in 0..1_000 {
        assert!(guard.load(request("k")).await.is_err());
        tokio::time::advance(Duration::from_millis(2)).await;
    }
    let calls = calls.load(Ordering::Relaxed);
    assert!((1_100..=1_206).contains(&calls), "{calls} calls for 1000 loads");
}

#[tokio::test(start_paused = true)]
async fn the_loader_is_told_less_time_than_there_is_and_nothing_is_sent_without_any() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&told);
    let inner = FnLoader::new("told", move |request: LoadRequest| {
        seen.lock().push(request.deadline - Instant::now());
        async { Ok(Loaded::not_found()) }
    });
    let guard = guarding(inner, &settings(1, 1, 1));
    for left in [5_000, 1_000, 500, 50] {
        let deadline = Instant::now() + Duration::from_millis(left);
        guard.load(LoadRequest { deadline, ..request("k") }).await.unwrap();
    }
    assert_eq!(*told.lock(), [990, 990, 490, 45].map(Duration::from_millis));
    let deadline = Instant::now() + Duration::from_micros(900);
    let error = guard.load(LoadRequest { deadline, ..request("k") }).await.unwrap_err();
    assert_eq!(error, failed("told", DEADLINE_EXCEEDED, "no time was left to ask it"));
    assert_eq!(told.lock().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_refuses_at_once_by_name_and_closes_with_the_first_answer() {
    let script = [vec![down(); 20], vec![Ok(Loaded::not_found())]].concat();
    let (guard, calls) = scripted(script, &settings(4, 4, 1));
    for _ in 0..20 {
        assert!(ask(&guard).await.unwrap().is_err());
    }
    assert_eq!(guard.circuit(), Circuit::Open);
    let started = Instant::now();
    let LoadError::Failed { code, message } = ask(&guard).await.unwrap().unwrap_err() else {
        panic!("it is no bound");
    };
    assert_eq!((code, started.elapsed()), (UNAVAILABLE, Duration::ZERO));
    for part in ["loader script: ", "of group g failed", "it is tried again in 2"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 20);
    sleep(Duration::from_millis(275)).await;
    assert_eq!(guard.circuit(), Circuit::HalfOpen);
    assert_eq!(ask(&guard).await.unwrap(), Ok(Loaded::not_found()));
    assert_eq!(guard.circuit(), Circuit::Closed);
    assert!(join_all((0..4).map(|_| ask(&guard))).await.into_iter().all(|end| end.unwrap().is_ok()));
}

#[tokio::test(start_paused = true)]
async fn timeouts_open_the_breaker_and_a_full_queue_or_a_bad_key_does_not() {
    let never = guard(20, 0);
    let hung: Vec<_> = (0..20).map(|_| ask(&never)).collect();
    tokio::task::yield_now().await;
    for _ in 0..20 {
        assert!(matches!(ask(&never).await.unwrap(), Err(LoadError::Overloaded { .. })));
    }
    assert_eq!(never.circuit(), Circuit::Closed);
    join_all(hung).await;
    assert_eq!(never.circuit(), Circuit::Open);

    let (guard, _) =
        scripted(vec![Err(failed("script", INVALID_ARGUMENT, "no such form"))], &settings(1, 1, 1));
    for _ in 0..40 {
        assert!(ask(&guard).await.unwrap().is_err());
    }
    assert_eq!(guard.circuit(), Circuit::Closed);
}

/// Answers many keys as told, single ones with themselves; it notes how many single ones run at once.
struct Several {
    many: fn(&LoadManyRequest) -> Result<Many, LoadError>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Loader for Several {
    fn name(&self) -> &str {
        "several"
    }

    fn load(&self, request: LoadRequest) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(async move {
            let running = 1 + self.running.fetch_add(1, Ordering::Relaxed);
            self.most.fetch_max(running, Ordering::Relaxed);
            sleep(Duration::from_millis(10)).await;
            self.running.fetch_sub(1, Ordering::Relaxed);
            if request.key.as_bytes() == b"hangs" {
                return std::future::pending().await;
            }
            Ok(Loaded::value(request.key.to_bytes()))
        })
    }

    fn most_keys(&self) -> usize {
        100
    }

    fn load_many(&self, request: LoadManyRequest) -> BoxFuture<'_, Result<Many, LoadError>> {
        Box::pin(std::future::ready((self.many)(&request)))
    }
}

fn several(
    max_in_flight: usize,
    many: fn(&LoadManyRequest) -> Result<Many, LoadError>,
) -> (Arc<Guard>, Arc<AtomicUsize>) {
    let most = Arc::new(AtomicUsize::new(0));
    let inner = Several { many, running: Arc::default(), most: Arc::clone(&most) };
    (guarding(inner, &settings(max_in_flight, 1, 1)), most)
}

fn keys(names: &[&str]) -> LoadManyRequest {
    let keys = names.iter().map(|name| Key::new((*name).to_owned(), 10).unwrap()).collect();
    LoadManyRequest { group: "g".into(), keys, deadline: Instant::now() + Duration::from_secs(60) }
}

const TWENTY: [&str; 20] =
    ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];

#[tokio::test(start_paused = true)]
async fn a_loader_without_a_call_for_many_keys_gets_single_ones_within_its_bounds() {
    for (max_in_flight, expected) in [(1, 1), (4, 4), (100, AT_A_TIME)] {
        let (guard, most) = several(max_in_flight, |_| Err(failed("several", UNIMPLEMENTED, "no such call")));
        let _turn = guard.admit(&request("k")).await.unwrap();
        let answers = guard.load_many(keys(&TWENTY)).await.unwrap();
        let expected_answers: Many = TWENTY.iter().map(|key| Ok(Loaded::value(*key))).collect();
        assert_eq!(answers, expected_answers);
        assert_eq!(most.load(Ordering::Relaxed), expected, "{max_in_flight} in flight");
    }
}

#[tokio::test(start_paused = true)]
async fn one_by_one_a_key_that_hangs_fails_alone() {
    let (guard, _) = several(4, |_| Err(failed("several", OUT_OF_RANGE, "too large")));
    let _turn = guard.admit(&request("k")).await.unwrap();
    let started = Instant::now();
    let answers = guard.load_many(keys(&["a", "hangs", "b"])).await.unwrap();
    assert_eq!((answers[0].clone(), answers[2].clone()), (Ok(Loaded::value("a")), Ok(Loaded::value("b"))));
    assert!(answers[1].as_ref().unwrap_err().to_string().contains("no answer within 1000 ms"));
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_for_many_keys_counts_once_for_the_breaker() {
    let (guard, _) = several(4, |_| Err(failed("several", UNAVAILABLE, "down")));
    for _ in 0..19 {
        assert!(guard.load_many(keys(&TWENTY)).await.is_err());
    }
    assert_eq!(guard.circuit(), Circuit::Closed);
    assert!(guard.load_many(keys(&TWENTY)).await.is_err());
    assert_eq!(guard.circuit(), Circuit::Open);

    let some = |request: &LoadManyRequest| {
        let mut answers: Many = vec![Err(failed("several", UNKNOWN, "bad row")); request.keys.len()];
        answers[1] = Ok(Loaded::not_found());
        Ok(answers)
    };
    let (guard, most) = several(4, some);
    for _ in 0..40 {
        assert_eq!(guard.load_many(keys(&["a", "b", "c"])).await.unwrap()[1], Ok(Loaded::not_found()));
    }
    assert_eq!((guard.circuit(), most.load(Ordering::Relaxed)), (Circuit::Closed, 0));
}
