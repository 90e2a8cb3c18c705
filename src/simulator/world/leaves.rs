//! Which leaves there are: issued, switched and renewed as time goes on; and the odd ones that failures list or
//! impostors hold.

use std::sync::MutexGuard;
use std::time::Duration;

use super::{Impostor, State, VENDOR, World};
use crate::simulator::failure::Failure;
use crate::simulator::pki::{
    CertificateAuthority, ClientCertificate, DAY, LeafRequest, PkiError, Validity, self_signed,
};
use crate::trust::values::timestamp::Timestamp;

/// The organisation of a leaf that has nothing to do with the vendor, but the same issuer.
const STRANGER: &str = "A Stranger, Ltd.";
const STRANGERS_NAME: &str = "mail.stranger.example";

impl World {
    pub(super) fn advanced(&self) -> Result<MutexGuard<'_, State>, PkiError> {
        let mut state = self.locked();
        self.advance(&mut state, self.now())?;
        Ok(state)
    }

    pub(super) fn advance(&self, state: &mut State, now: Timestamp) -> Result<(), PkiError> {
        let options = &self.0.options;
        let life = options.certificate_lifetime;
        let rotates = options.rotate_at_days_left.map(|days| {
            // Not before there is an Upcoming.
            DAY.saturating_mul(days).min(options.window())
        });
        if rotates.is_some() && now > state.current.validity().not_after.plus(life) {
            // After a leap over more than a life, what lay between does not matter.
            let fresh = self.leaf(Validity::of(now.minus(life / 4), life))?;
            state.succeed(fresh);
            state.upcoming = None;
        }
        // A leap is at most a life now, so this takes a few turns at most.
        for _ in 0..8 {
            let ends = state.current.validity().not_after;
            let opens = ends.minus(options.window());
            if state.upcoming.is_none() && now > opens {
                state.upcoming = Some(self.leaf(Validity::of(opens, life))?);
            }
            let due = rotates.is_some_and(|left| now > ends.minus(left));
            match state.upcoming.take_if(|_| due) {
                Some(upcoming) => state.succeed(upcoming),
                None => break,
            }
        }
        if now > state.genesys.validity().not_after.minus(DAY.saturating_mul(30)) {
            state.genesys = self.genesys_leaf(now)?;
        }
        Ok(())
    }

    pub(super) fn leaf(&self, validity: Validity) -> Result<ClientCertificate, PkiError> {
        let request = LeafRequest::client(&self.0.options.certificate_name, validity);
        self.0.pki.digicert_intermediate.issue(VENDOR, &request)
    }

    pub(super) fn genesys_leaf(&self, now: Timestamp) -> Result<ClientCertificate, PkiError> {
        let validity = Validity::of(now, DAY.saturating_mul(397));
        let request = LeafRequest::client(&self.0.options.certificate_name, validity);
        self.0.pki.genesys_root.issue(VENDOR, &request)
    }

    /// A certificate that is not the vendor's. The same one each time, until its validity would give it away.
    pub fn impostor(&self, who: Impostor) -> Result<ClientCertificate, PkiError> {
        let pki = &self.0.pki;
        let own = self.0.options.certificate_name.as_str();
        let (issuer, organisation, name) = match who {
            Impostor::Stranger => (Some(&pki.digicert_intermediate), STRANGER, STRANGERS_NAME),
            Impostor::Namesake | Impostor::Expired => (Some(&pki.digicert_intermediate), VENDOR, own),
            Impostor::Twin => (None, VENDOR, own),
            Impostor::OtherCa => (Some(&pki.other_root), VENDOR, own),
        };
        let start = if who == Impostor::Expired { -427 } else { -1 };
        let request = LeafRequest::client(name, self.days(start, 397));
        self.kept(&mut *self.advanced()?, who.name(), issuer, organisation, &request)
    }

    /// The leaf that a failure lists.
    pub(super) fn odd(&self, state: &mut State, failure: Failure) -> Result<ClientCertificate, PkiError> {
        let pki = &self.0.pki;
        let own = self.0.options.certificate_name.as_str();
        let (issuer, organisation, name) = match failure {
            Failure::UpcomingOtherCa | Failure::CurrentOtherCa | Failure::GenesysOtherRoot => {
                (&pki.other_root, VENDOR, own)
            }
            Failure::UpcomingWrongName | Failure::CurrentWrongName => {
                (&pki.digicert_intermediate, VENDOR, "dataactions.elsewhere.mypurecloud.example")
            }
            Failure::UpcomingStranger => (&pki.digicert_intermediate, STRANGER, STRANGERS_NAME),
            _ => (&pki.digicert_intermediate, VENDOR, own),
        };
        let validity = match failure {
            Failure::UpcomingExpired | Failure::CurrentExpired => self.days(-400, 397),
            Failure::UpcomingNotYetValid => self.days(2, 800),
            _ => self.days(-1, 800),
        };
        let request = LeafRequest { ca: failure == Failure::UpcomingCa, ..LeafRequest::client(name, validity) };
        self.kept(state, failure.name(), Some(issuer), organisation, &request)
    }

    /// From so many days after now (before now, where negative), for so many days.
    fn days(&self, start: i32, lifetime: u32) -> Validity {
        let distance = DAY.saturating_mul(start.unsigned_abs());
        let start = if start < 0 { self.now().minus(distance) } else { self.now().plus(distance) };
        Validity::of(start, DAY.saturating_mul(lifetime))
    }

    /// The odd leaf of this name: the one that is there while it is as valid, expired or early as the one asked for, so
    /// that the listing does not change by itself. Without an issuer it is self-signed.
    fn kept(
        &self,
        state: &mut State,
        name: &'static str,
        issuer: Option<&CertificateAuthority>,
        organisation: &str,
        request: &LeafRequest,
    ) -> Result<ClientCertificate, PkiError> {
        let now = self.now();
        let phase = |validity: Validity| (validity.not_before > now, validity.not_after < now);
        if let Some(known) = state.odd.get(name).filter(|known| phase(known.validity()) == phase(request.validity)) {
            return Ok(known.clone());
        }
        let made = match issuer {
            Some(issuer) => issuer.issue(organisation, request)?,
            None => self_signed(organisation, request)?,
        };
        state.odd.insert(name, made.clone());
        Ok(made)
    }
}

/// A validity with `left` to go at `now`, of `lifetime` where that is not shorter.
pub(super) fn ending(now: Timestamp, left: Duration, lifetime: Duration) -> Validity {
    let not_after = now.plus(left);
    Validity { not_before: not_after.minus(lifetime).min(now), not_after }
}
