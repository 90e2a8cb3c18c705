//! Which leaves there are: issued, switched and renewed as time goes on; and the odd ones that failures list.

use std::sync::MutexGuard;
use std::time::Duration;

use super::{State, VENDOR, World};
use crate::simulator::failure::Failure;
use crate::simulator::pki::{ClientCertificate, DAY, LeafRequest, Pki, PkiError, Validity};
use crate::trust::timestamp::Timestamp;

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
            // Never before the Upcoming is there.
            DAY.saturating_mul(days).min(options.effective_window())
        });
        if rotates.is_some() && now > state.current.validity().not_after.plus(life) {
            // A leap over more than a life: nobody saw what lay between.
            let fresh = self.leaf(&state.pki, Validity::of(now.minus(life / 4), life))?;
            state.succeed(fresh);
            state.upcoming = None;
        }
        // A leap is at most a life now, so this takes a few turns at most.
        for _ in 0..8 {
            let ends = state.current.validity().not_after;
            let opens = ends.minus(options.effective_window());
            if state.upcoming.is_none() && now > opens {
                state.upcoming = Some(self.leaf(&state.pki, Validity::of(opens, life))?);
            }
            let due = rotates.is_some_and(|left| now > ends.minus(left));
            match state.upcoming.take_if(|_| due) {
                Some(upcoming) => state.succeed(upcoming),
                None => break,
            }
        }
        if now > state.genesys.validity().not_after.minus(DAY.saturating_mul(30)) {
            state.genesys = self.genesys_leaf(&state.pki, now)?;
        }
        Ok(())
    }

    pub(super) fn leaf(&self, pki: &Pki, validity: Validity) -> Result<ClientCertificate, PkiError> {
        pki.digicert_intermediate.issue(VENDOR, &LeafRequest::client(&self.0.options.certificate_name, validity))
    }

    pub(super) fn genesys_leaf(&self, pki: &Pki, now: Timestamp) -> Result<ClientCertificate, PkiError> {
        pki.genesys_root.issue(
            VENDOR,
            &LeafRequest::client(&self.0.options.certificate_name, Validity::of(now, DAY.saturating_mul(397))),
        )
    }

    /// The leaf that a failure lists: the same one while it can serve, so that the listing does not change by itself.
    pub(super) fn odd(&self, state: &mut State, failure: Failure) -> Result<ClientCertificate, PkiError> {
        let now = self.now();
        let name = self.0.options.certificate_name.as_str();
        let fresh = Validity::of(now.minus(DAY), DAY.saturating_mul(800));
        let serves = |known: &ClientCertificate| {
            let Validity { not_before, not_after } = known.validity();
            match failure {
                Failure::UpcomingExpired | Failure::CurrentExpired => not_after < now,
                Failure::UpcomingNotYetValid => not_before > now,
                _ => not_before <= now && now <= not_after,
            }
        };
        if let Some(known) = state.odd.get(&failure).filter(|known| serves(known)) {
            return Ok(known.clone());
        }
        let mut request = LeafRequest::client(name, fresh);
        let issuer = match failure {
            Failure::UpcomingOtherCa | Failure::CurrentOtherCa | Failure::GenesysOtherRoot => &state.pki.other_root,
            _ => &state.pki.digicert_intermediate,
        };
        match failure {
            Failure::UpcomingWrongName | Failure::CurrentWrongName => {
                request = LeafRequest::client("dataactions.elsewhere.mypurecloud.example", fresh);
            }
            Failure::UpcomingStranger => {
                request = LeafRequest::client("mail.stranger.example", fresh);
            }
            Failure::UpcomingExpired | Failure::CurrentExpired => {
                request.validity = Validity::of(now.minus(DAY.saturating_mul(400)), DAY.saturating_mul(397));
            }
            Failure::UpcomingNotYetValid => {
                request.validity = Validity::of(now.plus(DAY.saturating_mul(2)), DAY.saturating_mul(800));
            }
            Failure::UpcomingCa => request.ca = true,
            _ => {}
        }
        let organisation = match failure {
            Failure::UpcomingStranger => "A Stranger, Ltd.",
            _ => VENDOR,
        };
        let made = issuer.issue(organisation, &request)?;
        state.odd.insert(failure, made.clone());
        Ok(made)
    }
}

/// A validity with `left` to go at `now`, of `lifetime` where that is not shorter.
pub(super) fn ending(now: Timestamp, left: Duration, lifetime: Duration) -> Validity {
    let not_after = now.plus(left);
    Validity { not_before: not_after.minus(lifetime).min(now), not_after }
}
