//! Plans of pruners: which packs are condemned, and which sessions must end before they are removed.
//!
//! The container is a pack's with one block of numbered fields, sealed under the index key. Both objects carry the plan's
//! random id as their first field, so a store cannot show one as another.

use super::cursor::DecodeError;
use super::fields::{Unknown, Value, put_field, put_nonzero, read_fields};
use super::header::ObjectKind;
use crate::id::{ObjectId, PackId, PlanId, SessionId};

/// The longest encoded plan or list of sessions.
pub const MAX_PLAN_BYTES: usize = 16 << 20;
/// The most packs of one plan, which fill it.
pub const MAX_PLAN_PACKS: usize = 400_000;

/// A decoded plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub id: PlanId,
    /// The packs that it condemns, and their kinds.
    pub packs: Vec<(PackId, ObjectKind)>,
    /// They are damaged, and are moved to the quarantine instead of being removed.
    pub quarantine: bool,
    /// Fields of later versions.
    pub unknown: Unknown,
}

impl Plan {
    /// A plan that condemns `packs`.
    pub fn new(id: PlanId, packs: Vec<(PackId, ObjectKind)>) -> Self {
        Self {
            id,
            packs,
            quarantine: false,
            unknown: Unknown::default(),
        }
    }

    /// The encoded fields.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(20 + 35 * self.packs.len());
        put_field(&mut out, 1, self.id.as_bytes());
        for (id, kind) in &self.packs {
            let mut pack = [*kind as u8; 33];
            pack[..32].copy_from_slice(id.as_bytes());
            put_field(&mut out, 2, &pack);
        }
        put_nonzero(&mut out, 3, u64::from(self.quarantine));
        self.unknown.put(&mut out);
        out
    }

    /// Decodes fields that fill `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut packs = Vec::new();
        let mut quarantine = false;
        let (id, unknown) = decode(bytes, |number, value| {
            if number == 3 {
                quarantine = match value.number("quarantine")? {
                    1 if !quarantine => true,
                    _ => return Err(bad("quarantine")),
                };
                return Ok(true);
            }
            if number != 2 {
                return Ok(false);
            }
            let bytes = value.bytes(33, "condemned pack")?;
            let pack = bytes.split_last().and_then(|(kind, id)| {
                let kind = ObjectKind::from_u8(*kind)
                    .filter(|kind| matches!(kind, ObjectKind::DataPack | ObjectKind::MetaPack))?;
                Some((ObjectId::from_slice(id)?, kind))
            });
            packs.push(pack.ok_or(bad("condemned pack"))?);
            Ok(true)
        })?;
        Ok(Self {
            id,
            packs,
            quarantine,
            unknown,
        })
    }
}

/// The sessions that may have missed a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The plan.
    pub plan: PlanId,
    /// Sessions that lived when the plan had been written.
    pub sessions: Vec<SessionId>,
    /// Fields of later versions.
    pub unknown: Unknown,
}

impl Waits {
    /// What `plan` waits for.
    pub fn new(plan: PlanId, sessions: Vec<SessionId>) -> Self {
        Self {
            plan,
            sessions,
            unknown: Unknown::default(),
        }
    }

    /// The encoded fields.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_field(&mut out, 1, self.plan.as_bytes());
        for id in &self.sessions {
            put_field(&mut out, 2, id.as_bytes());
        }
        self.unknown.put(&mut out);
        out
    }

    /// Decodes fields that fill `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut sessions = Vec::new();
        let (plan, unknown) = decode(bytes, |number, value| {
            if number != 2 {
                return Ok(false);
            }
            let id = SessionId::from_slice(value.bytes(16, "session id")?);
            sessions.push(id.ok_or(bad("session id"))?);
            Ok(true)
        })?;
        Ok(Self {
            plan,
            sessions,
            unknown,
        })
    }
}

fn bad(what: &'static str) -> DecodeError {
    DecodeError { what, offset: 0 }
}

/// Field 1, the plan's id; `each` says whether it knows another field.
fn decode<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(u64, Value<'a>) -> Result<bool, DecodeError>,
) -> Result<(PlanId, Unknown), DecodeError> {
    if bytes.len() > MAX_PLAN_BYTES {
        return Err(bad("plan too long"));
    }
    let mut id = None;
    let mut unknown = Unknown::default();
    read_fields(bytes, |number, value| {
        match number {
            1 if id.is_none() => {
                let found = PlanId::from_slice(value.bytes(16, "plan id")?);
                id = Some(found.ok_or(bad("plan id"))?);
            }
            1 => return Err(bad("plan id twice")),
            _ => {
                if !each(number, value)? {
                    unknown.keep(number, value);
                }
            }
        }
        Ok(())
    })?;
    Ok((id.ok_or(bad("plan without an id"))?, unknown))
}
