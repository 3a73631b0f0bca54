//! A whole group under every order of tasks: no Get after a purge answers what was loaded before it.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use groupcache_ring::{Member, Snapshot, Version};
use shuttle::sync::atomic::{AtomicBool, AtomicU64};
use shuttle::{check_pct, check_random, future, thread};
use tokio::runtime::Builder;

use super::*;
use crate::clock::Clock;
use crate::loader::{FnLoader, Loaded};
use crate::peer::Purged;

/// Orders that chance tries for each test.
const SCHEDULES: usize = 1_000;

/// Orders with few pre-emptions, which let one thread run far while another stands still: such are needed between the steps of a flush.
const FEW: usize = 1_000;

/// Pre-emptions in one of those, and one more.
const DEPTH: usize = 3;

type Part = Box<dyn FnOnce(&World) + Send>;

struct World {
    group: Arc<Group>,
    source: Arc<AtomicU64>,
    /// True once the source was asked.
    asked: Arc<AtomicBool>,
    soon: Instant,
}

fn key() -> Key {
    Key::new("k", 8).unwrap()
}

impl World {
    fn new() -> Arc<Self> {
        let (source, asked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (told, heard) = (source.clone(), asked.clone());
        let loader = FnLoader::new("counter", move |_| {
            let (told, heard) = (told.clone(), heard.clone());
            async move {
                let value = told.load(Ordering::SeqCst);
                heard.store(true, Ordering::SeqCst);
                future::yield_now().await;
                Ok(Loaded::value(value.to_le_bytes().to_vec()))
            }
        });
        let settings = Settings { hot_percent: 0, ..Settings::new("g", 64 << 10) };
        let group = Group::new(settings, Arc::new(loader), Arc::new(NoPeers), granted());
        group.adopt(view(1, "alone"));
        Arc::new(World { group, source, asked, soon: Instant::now() + Duration::from_secs(3600) })
    }

    fn get(&self, floor: u64) {
        let answer = future::block_on(self.group.get(key(), Origin::Client, self.soon)).unwrap();
        let Outcome::Value(value) = answer.entry.outcome else { panic!("the counter has a value") };
        let value = u64::from_le_bytes(value[..].try_into().unwrap());
        assert!(value >= floor, "{value} is answered after the purge of change {floor}");
    }

    /// A Get whose caller goes away, perhaps before anything is sent.
    fn leave(&self) {
        if let Ok(boarded) = self.group.board(&key(), Origin::Client) {
            thread::yield_now();
            drop(boarded);
        }
    }

    /// Until a load is under way: a change before it meets nothing old. A Get must wait meanwhile.
    fn once_asked(&self) -> &Self {
        while !self.asked.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        self
    }

    fn change(&self, what: &Purged) {
        let floor = self.source.fetch_add(1, Ordering::SeqCst) + 1;
        self.group.purge(what, Duration::ZERO, None);
        self.get(floor);
    }

    /// This node leaves the ring and returns. Nobody purges here meanwhile: what it held before is of no use any more.
    fn away_and_back(&self) {
        self.group.adopt(view(2, "stranger"));
        let floor = self.source.fetch_add(1, Ordering::SeqCst) + 1;
        self.group.adopt(view(3, "alone"));
        self.get(floor);
    }
}

/// Grants that last, by a clock that stands still. Whenever it is read others may run first, also inside the fence.
fn granted() -> Arc<Grants> {
    let epoch = Instant::now();
    let grants = Grants::new(Clock::new(move || {
        thread::yield_now();
        epoch
    }));
    grants.adopt(&view(1, "alone"), || ());
    let asking = grants.to_ask().expect("one grantor");
    grants.granted("alone", asking.term, epoch, Duration::from_secs(5), || ());
    grants
}

fn view(sequence: u64, me: &str) -> Arc<View> {
    let version = Version::new(1, sequence);
    let members = vec![Member::active("alone", "localhost:1")];
    let snapshot = Snapshot::new("alone", version, version, vec!["alone".to_owned()], members).unwrap();
    Arc::new(View::new(me, Arc::new(snapshot)))
}

/// Within a runtime whose clock stands still and whose timers nobody drives: no deadline passes.
fn search(parts: fn() -> Vec<Part>) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    // Never dropped: after a failure that would wake tasks which the checker has forgotten, and hide what failed.
    let runtime = ManuallyDrop::new(runtime);
    let _entered = runtime.enter();
    let scenario = move || {
        let world = World::new();
        let threads: Vec<_> = parts()
            .into_iter()
            .map(|part| {
                let world = Arc::clone(&world);
                thread::spawn(move || part(&world))
            })
            .collect();
        for one in threads {
            one.join().unwrap();
        }
        while world.group.sizes().flights > 0 {
            thread::yield_now();
        }
    };
    check_random(scenario, SCHEDULES);
    check_pct(scenario, FEW, DEPTH);
}

#[test]
fn no_get_after_a_purge_answers_what_was_loaded_before_it() {
    search(|| {
        vec![
            Box::new(|world| world.get(0)),
            Box::new(|world| world.once_asked().change(&Purged::Keys([key()].into()))),
            Box::new(|world| {
                world.leave();
                world.change(&Purged::Keys([key()].into()));
            }),
        ]
    });
}

#[test]
fn no_get_after_a_flush_answers_what_was_loaded_before_it() {
    search(|| {
        vec![Box::new(|world| world.get(0)), Box::new(|world| world.once_asked().change(&Purged::Group))]
    });
}

#[test]
fn no_get_after_a_lapse_answers_what_was_loaded_before_it() {
    search(|| vec![Box::new(|world| world.get(0)), Box::new(|world| world.once_asked().away_and_back())]);
}
