//! A backend that counts and records what is asked of another one, and breaks it on purpose: for tests only.
//!
//! Tests assert work by counted calls instead of by time ("a cold read is one ranged read"), and walk through crashes
//! by stopping at the Nth call for every N.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Area, Backend, Drawn, Held, Key};
use crate::error::{Class, Error, Result};

/// A method of [`Backend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// `prepare`
    Prepare,
    /// `read`
    Read,
    /// `read_all`
    ReadAll,
    /// `write_new`
    WriteNew,
    /// `list`
    List,
    /// `size`, and so `exists`
    Size,
    /// `hold`
    Hold,
    /// `is_held`
    IsHeld,
    /// `remove`
    Remove,
    /// `remove_leftovers`
    RemoveLeftovers,
}

/// One call as it was asked for, whether it succeeded or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub op: Op,
    /// The area, where there is one.
    pub area: Option<Area>,
    /// The object, where there is one.
    pub key: Option<Key>,
    /// Where reading began.
    pub offset: u64,
    /// How much was to be read or written.
    pub bytes: u64,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call does nothing and fails with this class.
    Fail(Class),
    /// The call does nothing, and it and every later one fail: the process was killed, or the medium is gone.
    Stop,
    /// The call is carried out, but it and every later one fail: the answer was lost.
    StopAfter,
    /// A write leaves only so many bytes under the object's name, and it and every later call fail: a store that
    /// breaks its promise of atomicity.
    Torn(usize),
    /// A read gives bytes of which one bit is wrong.
    Flip,
    /// The call takes this much longer.
    Slow(Duration),
}

/// When a fault happens: at the `nth` call (from 1, counted from the injection) that the filters let through.
#[derive(Clone, Copy, Debug)]
pub struct Trigger {
    /// Only this method.
    pub op: Option<Op>,
    /// Only this area.
    pub area: Option<Area>,
    /// Which of them.
    pub nth: u64,
    /// What happens then.
    pub fault: Fault,
}

impl Trigger {
    /// `fault` at the `nth` call of any kind.
    pub fn any(nth: u64, fault: Fault) -> Self {
        Self {
            op: None,
            area: None,
            nth,
            fault,
        }
    }

    /// `fault` at the `nth` call of `op`.
    pub fn at(op: Op, nth: u64, fault: Fault) -> Self {
        Self {
            op: Some(op),
            ..Self::any(nth, fault)
        }
    }

    /// The same, counting only calls in `area`.
    #[must_use]
    pub fn within(self, area: Area) -> Self {
        Self {
            area: Some(area),
            ..self
        }
    }
}

/// The decorator.
pub struct Faulty {
    inner: Arc<dyn Backend>,
    state: Arc<Mutex<State>>,
}

/// A held object of a store that may stop: its holder cannot go on then.
struct FaultyHeld {
    inner: Box<dyn Held>,
    state: Arc<Mutex<State>>,
}

impl Held for FaultyHeld {
    fn confirm(&self) -> Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return Err(broken(Op::IsHeld, Class::Io));
        }
        drop(state);
        self.inner.confirm()
    }
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    /// With how many matching calls are still to come before it fires.
    armed: Vec<Trigger>,
    /// What is to run before a call, and before which one from now.
    hooks: Vec<(u64, Hook)>,
    stopped: bool,
}

/// Something that happens in between.
type Hook = Box<dyn FnOnce() + Send>;

impl Faulty {
    /// Around `inner`, recording, with no faults.
    pub fn new(inner: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            state: Arc::default(),
        })
    }

    /// Arms a fault; several may be armed.
    pub fn inject(&self, trigger: Trigger) {
        self.state().armed.push(trigger);
    }

    /// Runs something just before the `nth` call from now: what another does at that moment.
    pub fn before(&self, nth: u64, run: impl FnOnce() + Send + 'static) {
        self.state().hooks.push((nth, Box::new(run)));
    }

    /// Everything works again and the record is empty.
    pub fn reset(&self) {
        *self.state() = State::default();
    }

    /// All calls so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// How often `op` was called.
    pub fn count(&self, op: Op) -> usize {
        self.state()
            .calls
            .iter()
            .filter(|call| call.op == op)
            .count()
    }

    /// How often `op` was called in `area`.
    pub fn count_in(&self, op: Op, area: Area) -> usize {
        let here = |call: &&Call| call.op == op && call.area == Some(area);
        self.state().calls.iter().filter(here).count()
    }

    /// Bytes that calls of `op` were to move.
    pub fn bytes(&self, op: Op) -> u64 {
        let state = self.state();
        state
            .calls
            .iter()
            .filter(|call| call.op == op)
            .map(|call| call.bytes)
            .sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call and tells what is to go wrong with it.
    fn record(&self, call: Call) -> Result<Option<Fault>> {
        let mut state = self.state();
        let mut due = Vec::new();
        for (left, _) in &mut state.hooks {
            *left -= 1;
        }
        while let Some(at) = state.hooks.iter().position(|(left, _)| *left == 0) {
            due.push(state.hooks.swap_remove(at).1);
        }
        if !due.is_empty() {
            drop(state);
            for run in due {
                run();
            }
            state = self.state();
        }
        let mut fault = None;
        for trigger in &mut state.armed {
            let matches = trigger.op.is_none_or(|op| op == call.op)
                && trigger.area.is_none_or(|area| Some(area) == call.area);
            if matches && trigger.nth > 0 {
                trigger.nth -= 1;
                if trigger.nth == 0 {
                    fault = Some(trigger.fault);
                }
            }
        }
        let op = call.op;
        state.calls.push(call);
        if state.stopped {
            return Err(broken(op, Class::Io));
        }
        match fault {
            Some(Fault::Fail(class)) => return Err(broken(op, class)),
            Some(Fault::Stop) => {
                state.stopped = true;
                return Err(broken(op, Class::Io));
            }
            Some(Fault::StopAfter | Fault::Torn(_)) => state.stopped = true,
            _ => {}
        }
        drop(state);
        if let Some(Fault::Slow(time)) = fault {
            thread::sleep(time);
        }
        Ok(fault)
    }

    /// Records a call on an object and carries it out.
    fn on<T>(
        &self,
        (op, key): (Op, &Key),
        (offset, bytes): (u64, u64),
        run: impl FnOnce(Option<Fault>) -> Result<T>,
    ) -> Result<T> {
        let fault = self.record(Call {
            op,
            area: Some(key.area()),
            key: Some(key.clone()),
            offset,
            bytes,
        })?;
        let value = run(fault)?;
        answered(op, fault, value)
    }

    /// Records a call without an object and carries it out.
    fn whole<T>(&self, op: Op, area: Option<Area>, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let call = Call {
            op,
            area,
            key: None,
            offset: 0,
            bytes: 0,
        };
        let fault = self.record(call)?;
        answered(op, fault, run()?)
    }
}

/// The answer of a call that was carried out, if it gets through.
fn answered<T>(op: Op, fault: Option<Fault>, value: T) -> Result<T> {
    match fault {
        Some(Fault::StopAfter | Fault::Torn(_)) => Err(broken(op, Class::Io)),
        _ => Ok(value),
    }
}

fn broken(op: Op, class: Class) -> Error {
    Error::new(class, format!("{op:?} failed on purpose"))
}

fn flipped(mut bytes: Vec<u8>, fault: Option<Fault>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    if let (Some(Fault::Flip), Some(byte)) = (fault, bytes.get_mut(middle)) {
        *byte ^= 0x10;
    }
    bytes
}

impl Backend for Faulty {
    fn prepare(&self) -> Result<()> {
        self.whole(Op::Prepare, None, || self.inner.prepare())
    }

    fn read(&self, key: &Key, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.on((Op::Read, key), (offset, len as u64), |fault| {
            Ok(flipped(self.inner.read(key, offset, len)?, fault))
        })
    }

    fn read_all(&self, key: &Key, limit: u64) -> Result<Vec<u8>> {
        self.on((Op::ReadAll, key), (0, 0), |fault| {
            Ok(flipped(self.inner.read_all(key, limit)?, fault))
        })
    }

    fn write_new(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        self.on((Op::WriteNew, key), (0, bytes.len() as u64), |fault| {
            let stored = match fault {
                Some(Fault::Torn(len)) => &bytes[..len.min(bytes.len())],
                _ => bytes,
            };
            self.inner.write_new(key, stored)
        })
    }

    fn list(&self, area: Area, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.whole(Op::List, Some(area), || self.inner.list(area, each))
    }

    fn size(&self, key: &Key) -> Result<u64> {
        self.on((Op::Size, key), (0, 0), |_| self.inner.size(key))
    }

    fn hold(&self, key: &Key, bytes: &[u8]) -> Result<Box<dyn Held>> {
        self.on((Op::Hold, key), (0, bytes.len() as u64), |fault| {
            let stored = match fault {
                Some(Fault::Torn(len)) => &bytes[..len.min(bytes.len())],
                _ => bytes,
            };
            let held: Box<dyn Held> = Box::new(FaultyHeld {
                inner: self.inner.hold(key, stored)?,
                state: Arc::clone(&self.state),
            });
            Ok(held)
        })
    }

    fn is_held(&self, key: &Key) -> Result<bool> {
        self.on((Op::IsHeld, key), (0, 0), |_| self.inner.is_held(key))
    }

    fn remove(&self, key: &Key) -> Result<()> {
        self.on((Op::Remove, key), (0, 0), |_| self.inner.remove(key))
    }

    fn remove_leftovers(&self) -> Result<u64> {
        self.whole(Op::RemoveLeftovers, None, || self.inner.remove_leftovers())
    }

    // Neither is a call on an object, and what either does shows in those that are.
    fn draw_on_reserve(&self, what: Drawn, allowed: bool) {
        self.inner.draw_on_reserve(what, allowed);
    }

    fn fill_reserve(&self) -> Result<bool> {
        self.inner.fill_reserve()
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Memory, conformance};
    use super::*;

    #[test]
    fn without_faults_it_conforms() {
        conformance::run(&|| Faulty::new(Arc::new(Memory::new())));
    }

    #[test]
    fn faults_happen_when_asked_and_calls_are_counted() {
        let inner = Arc::new(Memory::new());
        let store = Faulty::new(inner.clone());
        let key = |name| Key::named(Area::Keys, name).unwrap();
        store.inject(Trigger::at(Op::WriteNew, 2, Fault::Fail(Class::Full)).within(Area::Keys));
        store.write_new(&Key::config(), b"c").unwrap();
        store.write_new(&key("a"), b"aaaa").unwrap();
        let full = store.write_new(&key("b"), b"bbbb").unwrap_err();
        assert_eq!(full.class(), Class::Full);
        store.write_new(&key("b"), b"bbbb").unwrap();
        assert_eq!(store.count(Op::WriteNew), 4);
        assert_eq!(store.count_in(Op::WriteNew, Area::Keys), 3);
        assert_eq!(store.bytes(Op::WriteNew), 13);

        store.inject(Trigger::at(Op::Read, 1, Fault::Flip));
        assert_eq!(store.read(&key("a"), 0, 4).unwrap(), b"aaqa");
        store.inject(Trigger::any(1, Fault::Torn(2)));
        store.write_new(&key("c"), b"cccc").unwrap_err();
        store.size(&key("a")).unwrap_err();
        assert_eq!(inner.read_all(&key("c"), 9).unwrap(), b"cc");

        store.reset();
        store.inject(Trigger::any(1, Fault::StopAfter));
        store.remove(&key("c")).unwrap_err();
        assert!(!inner.exists(&key("c")).unwrap());
        assert_eq!(store.calls().len(), 1);
    }
}
