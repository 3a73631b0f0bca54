//! Who calls: applications on a machine of their own, through the data port, and what the judges are told of it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use groupcache_proto::cache::cache_service_client::CacheServiceClient;
use groupcache_proto::cache::{
    GetManyRequest, GetRequest, GetResponse, RemoveManyRequest, RemoveRequest, SetRequest, Source,
    get_response, key_result,
};
use groupcache_sim::judge::{AFTERMATH, Floor, Removing};
use groupcache_sim::plan::GROUP;
use groupcache_sim::shared::{Shared, name};
use http::Uri;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Request, Status};

use crate::callers::{Order, Wanted};
use crate::door::{self, Door};
use crate::machine::Machine;
use crate::wire::DATA_PORT;

/// A deadline with which a Remove can succeed although a node is away.
const FAIR: u64 = 20_000;

/// So long after its deadline nobody waits for the end of a call any more: the judges have seen enough.
const GIVE_UP: Duration = Duration::from_secs(1);

/// The applications: the connections they share, and the judges they report to.
struct Apps {
    shared: Arc<Shared>,
    machines: Vec<Arc<Machine>>,
    doors: Vec<Mutex<Option<Door>>>,
}

/// Calls what it is told to, for as long as there is more.
///
/// # Errors
/// Never: what comes of a call is judged.
pub async fn run(
    shared: Arc<Shared>,
    machines: Vec<Arc<Machine>>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> turmoil::Result {
    let doors = machines.iter().map(|_| Mutex::default()).collect();
    let apps = Arc::new(Apps { shared, machines, doors });
    while let Some(order) = orders.recv().await {
        let call = Call::begins(&apps, &order);
        tokio::spawn(async move {
            match order.leaves {
                Some(after) => tokio::select! {
                    biased;
                    () = call.run(order) => {}
                    () = sleep(Duration::from_millis(after)) => {}
                },
                None => call.run(order).await,
            }
        });
    }
    Ok(())
}

/// A call from its beginning; what it means to the judges ends with it, however it ends.
struct Call {
    apps: Arc<Apps>,
    deadline: Instant,
    called: u64,
    process: Option<u64>,
    ready: bool,
    gets: Vec<Get>,
    change: Option<Change>,
}

struct Get {
    shared: Arc<Shared>,
    key: usize,
    floor: Floor,
}

impl Drop for Get {
    fn drop(&mut self) {
        self.shared.judge.lock().get_left(self.key);
    }
}

/// A Remove or Set whose end is not known yet.
struct Change {
    shared: Arc<Shared>,
    removing: Removing,
    allowed: u64,
    over: bool,
}

impl Change {
    fn ends(&mut self, succeeded: bool) {
        self.over = true;
        let until = self.shared.now() + self.shared.plan.window;
        self.shared.judge.lock().remove_ended(&self.removing, Some(succeeded), until);
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if !self.over {
            // It runs on without its caller, or its process is gone. In calm its purges are done within a window.
            let window = self.shared.plan.window;
            let mut judge = self.shared.judge.lock();
            let allowed = if judge.calm_since.is_some() { window } else { self.allowed };
            judge.remove_ended(&self.removing, None, self.shared.now() + allowed + window);
        }
    }
}

impl Call {
    /// Called now: what it must answer is what was promised until now.
    fn begins(apps: &Arc<Apps>, order: &Order) -> Self {
        let shared = &apps.shared;
        let machine = &apps.machines[order.at];
        let seen = machine.seen().unwrap_or_default();
        let (mut gets, mut change) = (Vec::new(), None);
        if matches!(order.wanted, Wanted::Get) {
            for key in &order.keys {
                let floor = shared.judge.lock().get_called(*key);
                gets.push(Get { shared: Arc::clone(shared), key: *key, floor });
            }
        } else {
            let mut truth = shared.truth.lock();
            let promised: Vec<(usize, u64)> = order.keys.iter().map(|key| (*key, truth.bump(*key))).collect();
            drop(truth);
            shared.note("removes", order.at, promised[0].0 as u64, promised[0].1);
            let mut judge = shared.judge.lock();
            if matches!(order.wanted, Wanted::Set) {
                judge.set_called(promised[0].0, promised[0].1);
            }
            let fair = order.allowed >= FAIR && seen.member;
            let removing = judge.remove_called(promised, fair, seen.serves);
            let (shared, allowed) = (Arc::clone(shared), order.allowed);
            change = Some(Change { shared, removing, allowed, over: false });
        }
        Call {
            apps: Arc::clone(apps),
            deadline: Instant::now() + Duration::from_millis(order.allowed),
            called: shared.now(),
            process: machine.process(),
            ready: seen.member,
            gets,
            change,
        }
    }

    async fn run(self, order: Order) {
        let apps = Arc::clone(&self.apps);
        let opened = timeout_at(self.deadline, apps.door(order.at)).await;
        let Ok(Some(door)) = opened else {
            apps.shared.note("found no door", order.at, 0, 0);
            return;
        };
        let client = CacheServiceClient::with_origin(door, Uri::from_static("http://node"));
        let keys: Vec<Bytes> = order.keys.iter().map(|key| apps.key(*key)).collect();
        match order.wanted {
            Wanted::Get => self.get(client, keys, order.at).await,
            Wanted::Remove | Wanted::Set => self.change(client, keys, &order).await,
        }
    }

    async fn get(self, mut client: CacheServiceClient<Door>, keys: Vec<Bytes>, at: usize) {
        let group = GROUP.to_owned();
        let answers: Result<Vec<Result<GetResponse, Status>>, Status> = if let [key] = &keys[..] {
            let get = GetRequest { group, key: key.clone(), fill_token_wanted: false };
            let answer = self.in_time(client.get(self.request(get)), "Get", at).await;
            answer.map(|answer| vec![Ok(answer.into_inner())])
        } else {
            let get = self.request(GetManyRequest { group, keys });
            let answer = self.in_time(client.get_many(get), "GetMany", at).await;
            answer.map(|answer| answer.into_inner().results.into_iter().map(result).collect())
        };
        match answers {
            Ok(answers) => {
                for (get, answer) in self.gets.iter().zip(answers) {
                    self.judge(get, answer, at);
                }
            }
            Err(status) => {
                for get in &self.gets {
                    self.judge(get, Err(status.clone()), at);
                }
            }
        }
    }

    fn judge(&self, get: &Get, answer: Result<GetResponse, Status>, at: usize) {
        let shared = &self.apps.shared;
        let now = shared.now();
        match answer {
            Ok(answer) => {
                let source = answer.source();
                let value = value(&answer);
                shared.note("got", at, get.key as u64, value);
                let mut judge = shared.judge.lock();
                judge.got(now, at, get.key, value, get.floor, source.as_str_name());
                judge.tally.hits += u64::from(matches!(source, Source::Main | Source::Hot));
                judge.tally.hot_hits += u64::from(source == Source::Hot);
            }
            Err(status) => {
                shared.note("got nothing", at, get.key as u64, status.code() as u64);
                let early = Instant::now() < self.deadline && status.code() != Code::DeadlineExceeded;
                let mut judge = shared.judge.lock();
                let calm = judge.calm_since.is_some_and(|since| since + AFTERMATH < self.called);
                if early && calm && self.ready {
                    let what =
                        format!("a Get of key-{} at n{at} failed without a fault: {status:?}", get.key);
                    judge.broken(now, "calm", what);
                }
            }
        }
    }

    async fn change(mut self, mut client: CacheServiceClient<Door>, keys: Vec<Bytes>, order: &Order) {
        let Some(mut change) = self.change.take() else { return };
        let (key, counter) = change.removing.keys[0];
        let group = GROUP.to_owned();
        let answer = match &keys[..] {
            [only] if matches!(order.wanted, Wanted::Set) => {
                let value = Bytes::copy_from_slice(&counter.to_le_bytes());
                let set = SetRequest { group, key: only.clone(), value, ttl_ms: None, source_version: None };
                self.in_time(client.set(self.request(set)), "Set", order.at).await.map(|_| ())
            }
            [only] => {
                let remove = RemoveRequest { group, key: only.clone(), source_version: None };
                self.in_time(client.remove(self.request(remove)), "Remove", order.at).await.map(|_| ())
            }
            _ => {
                let remove = self.request(RemoveManyRequest { group, keys });
                self.in_time(client.remove_many(remove), "RemoveMany", order.at).await.map(|_| ())
            }
        };
        let told = if answer.is_ok() { "removed" } else { "failed to remove" };
        self.apps.shared.note(told, order.at, key as u64, counter);
        // A connection that broke says nothing of what the node did, or does.
        if answer.as_ref().err().is_none_or(|status| std::error::Error::source(status).is_none()) {
            change.ends(answer.is_ok());
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline.saturating_duration_since(Instant::now()));
        request
    }

    /// P5: waits for the end of a call and has it judged, unless its node has crashed meanwhile.
    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, Status>>,
        what: &'static str,
        at: usize,
    ) -> Result<T, Status> {
        let answer = timeout_at(self.deadline + GIVE_UP, call).await;
        let late = Instant::now().saturating_duration_since(self.deadline).as_millis();
        if self.process.is_some() && self.apps.machines[at].process() == self.process {
            let shared = &self.apps.shared;
            shared.judge.lock().ended(shared.now(), what, at, u64::try_from(late).unwrap_or(u64::MAX));
        }
        answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("nothing came")))
    }
}

impl Apps {
    fn key(&self, place: usize) -> Bytes {
        self.shared.keys[place].to_bytes()
    }

    /// The connection to a node: the one there is, or a new one.
    async fn door(&self, at: usize) -> Option<Door> {
        let open = self.doors[at].lock().clone();
        if let Some(open) = open.filter(|open| !open.is_closed()) {
            return Some(open);
        }
        let new = door::open(&name(at), DATA_PORT).await.ok()?;
        *self.doors[at].lock() = Some(new.clone());
        Some(new)
    }
}

fn result(result: groupcache_proto::cache::KeyResult) -> Result<GetResponse, Status> {
    match result.result {
        Some(key_result::Result::Response(response)) => Ok(response),
        Some(key_result::Result::Failure(failure)) => {
            Err(Status::new(Code::from(failure.code), failure.message))
        }
        None => Err(Status::internal("neither an answer nor a failure")),
    }
}

/// The counter in an answer.
fn value(answer: &GetResponse) -> u64 {
    match &answer.outcome {
        Some(get_response::Outcome::Value(bytes)) => {
            bytes.as_ref().try_into().map_or(u64::MAX, u64::from_le_bytes)
        }
        _ => u64::MAX,
    }
}
