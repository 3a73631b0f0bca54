//! How faults begin and end in a run, and how its membership is made to change.

use crate::faults::Trouble;
use crate::host::Doing;
use crate::operator::Change;
use crate::plan::{MOST_NODES, OPERATOR};
use crate::shared::name;
use crate::truth::Mood;
use crate::world::World;

impl World {
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
            self.hosts.iter().filter(|host| host.node().is_some()).map(|host| host.place).collect();
        if up.len() < 2 {
            return;
        }
        if let Some(trouble) = self.faults.begin(now, &up) {
            self.begins(now, trouble);
        }
    }

    fn begins(&mut self, now: u64, trouble: Trouble) {
        self.shared.judge.lock().fault_begins(trouble.kind());
        self.shared.note(trouble.kind(), trouble.stops().unwrap_or(OPERATOR), 1, 0);
        match trouble {
            Trouble::Stopped(place) => self.hosts[place].doing = Doing::Stopped(0),
            Trouble::Asleep(place) => self.hosts[place].doing = Doing::Asleep(0),
            Trouble::Crashed(place) | Trouble::Lost(place) => self.crash(place),
            Trouble::NoOperator => self.operator.away = true,
            _ => {}
        }
        self.set_links(now);
    }

    fn over(&mut self, now: u64, trouble: Trouble) {
        self.shared.judge.lock().fault_ends();
        self.shared.note(trouble.kind(), trouble.stops().unwrap_or(OPERATOR), 0, 0);
        match trouble {
            Trouble::Stopped(place) | Trouble::Asleep(place) => {
                self.shared.wakes(place);
                if let Doing::Asleep(passed) = self.hosts[place].doing {
                    self.shared.judge.lock().reasons().slept(place, passed);
                }
                self.hosts[place].wake();
            }
            Trouble::Crashed(place) => self.start(place),
            Trouble::Lost(place) => {
                self.hosts[place].new_pod();
                let uid = self.hosts[place].uid();
                self.operator.pod(now, place, Some(uid));
                self.start(place);
            }
            Trouble::NoOperator => self.operator.replace(),
            _ => {}
        }
        self.set_links(now);
    }

    /// What the present faults do to links and to the source.
    fn set_links(&mut self, now: u64) {
        let present: Vec<Trouble> = self.faults.present().collect();
        let mut network = self.shared.network.lock();
        network.slow = [0; MOST_NODES + 1];
        network.loss = [0; MOST_NODES + 1];
        network.stragglers = present.contains(&Trouble::Stragglers);
        let mut mood = Mood::Well;
        for trouble in &present {
            match *trouble {
                Trouble::Slow(place, by) => network.slow[place] = by,
                Trouble::Loss(place, of) => network.loss[place] = of,
                Trouble::Source(present) => mood = present,
                _ => {}
            }
        }
        network.set_links(now, |from, to| self.faults.link(from, to));
        drop(network);
        self.shared.truth.lock().mood = mood;
    }

    /// Somebody wants another membership.
    pub(super) fn change(&mut self, now: u64) {
        let newest = self.operator.newest().clone();
        let members = newest.members();
        let chance = self.faults.chance();
        let place = chance.place(MOST_NODES);
        let is_member = members.iter().any(|member| member.name == name(place));
        let up = self.hosts[place].node().is_some();
        let choice = chance.number(0, 10);
        let kind = match (is_member, up) {
            (false, false) if self.faults.present().all(|trouble| trouble.stops() != Some(place)) => {
                self.hosts[place].new_pod();
                let uid = self.hosts[place].uid();
                self.operator.pod(now, place, Some(uid));
                self.start(place);
                self.operator.wish(Change::Join(place));
                "joins"
            }
            (false, true) => {
                self.operator.wish(Change::Join(place));
                "joins"
            }
            (true, _) if members.len() > 3 && choice < 4 => {
                self.operator.wish(Change::Drain(place));
                let after = self.faults.chance().number(500, 6000);
                self.leaving.push((now + after, Change::Leave(place)));
                "drains"
            }
            (true, _) if members.len() > 3 && choice < 7 => {
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
        if self.leaving.iter().any(|(at, _)| *at <= now) {
            let (due, later) = std::mem::take(&mut self.leaving).into_iter().partition(|(at, _)| *at <= now);
            self.leaving = later;
            let due: Vec<(u64, Change)> = due;
            for (_, change) in due {
                self.operator.wish(change);
            }
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
