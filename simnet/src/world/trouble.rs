//! How faults begin and end in a run, and how its membership is made to change.

use groupcache_sim::faults::Trouble;
use groupcache_sim::operator::Change;
use groupcache_sim::plan::OPERATOR;
use groupcache_sim::shared::name;
use groupcache_sim::truth::Mood;

use crate::weather::is_free;
use crate::world::World;

/// Fewer members than this are not made.
const FEWEST: usize = 3;

impl World<'_> {
    /// Faults begin and end.
    pub(super) fn trouble(&mut self, now: u64) {
        for trouble in self.faults.ended(now, false) {
            self.over(now, trouble);
        }
        if !self.faults.is_due(now) {
            return;
        }
        if self.faults.is_change() {
            self.change(now);
            return;
        }
        let up: Vec<usize> =
            self.machines.iter().filter(|one| one.seen().is_some()).map(|one| one.place).collect();
        if up.len() < 2 {
            return;
        }
        if let Some(trouble) = self.faults.begin(now, &up) {
            self.begins(trouble);
        }
    }

    fn begins(&mut self, trouble: Trouble) {
        self.shared.judge.lock().fault_begins(trouble.kind());
        self.shared.note(trouble.kind(), trouble.stops().unwrap_or(OPERATOR), 1, 0);
        match trouble {
            Trouble::Crashed(place) | Trouble::Lost(place) => self.crash(place),
            Trouble::NoOperator => self.operator.away = true,
            _ => {}
        }
        self.set();
    }

    fn over(&mut self, now: u64, trouble: Trouble) {
        self.shared.judge.lock().fault_ends();
        self.shared.note(trouble.kind(), trouble.stops().unwrap_or(OPERATOR), 0, 0);
        match trouble {
            Trouble::Crashed(place) => self.start(place),
            Trouble::Lost(place) => {
                self.new_pod(now, place);
                self.start(place);
            }
            Trouble::NoOperator => self.operator.replace(),
            _ => {}
        }
        self.set();
    }

    /// What the present faults do to links and to the source.
    fn set(&mut self) {
        self.weather.set(&mut self.net, &self.faults, &self.shared.plan);
        let moods = self.faults.present().filter_map(|trouble| match trouble {
            Trouble::Source(mood) => Some(mood),
            _ => None,
        });
        self.shared.truth.lock().mood = moods.last().unwrap_or(Mood::Well);
    }

    fn new_pod(&mut self, now: u64, place: usize) {
        self.machines[place].new_pod();
        let uid = self.machines[place].uid();
        self.operator.pod(now, place, Some(uid));
    }

    /// Somebody wants another membership.
    fn change(&mut self, now: u64) {
        let newest = self.operator.newest().clone();
        let chance = self.faults.chance();
        let place = chance.place(self.machines.len());
        let choice = chance.number(0, 10);
        let after = chance.number(500, 4000);
        let is_member = newest.member(&name(place)).is_some();
        let up = self.machines[place].seen().is_some();
        let many = newest.members().len() > FEWEST;
        let kind = match (is_member, up) {
            (false, false) if is_free(&self.faults, &self.machines[place]) => {
                self.new_pod(now, place);
                self.start(place);
                self.operator.wish(Change::Join(place));
                "joins"
            }
            (false, true) => {
                self.operator.wish(Change::Join(place));
                "joins"
            }
            (true, _) if many && choice < 4 => {
                self.operator.wish(Change::Drain(place));
                self.leaving.push((now + after, Change::Leave(place)));
                "drains"
            }
            (true, _) if many && choice < 7 => {
                self.operator.wish(Change::Leave(place));
                "kicks"
            }
            _ => {
                self.operator.wish(Change::Regrant);
                "regrants"
            }
        };
        *self.shared.judge.lock().tally.faults.entry(kind).or_default() += 1;
        self.shared.note(kind, place, 0, 0);
    }

    pub(super) fn leave(&mut self, now: u64) {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.leaving).into_iter().partition(|(at, _)| *at <= now);
        self.leaving = later;
        for (_, change) in due {
            self.operator.wish(change);
        }
    }

    /// Everything works again.
    pub(super) fn heal(&mut self) {
        let now = self.shared.now();
        for trouble in self.faults.ended(now, true) {
            self.over(now, trouble);
        }
        self.shared.note("heals", OPERATOR, 0, 0);
    }
}
