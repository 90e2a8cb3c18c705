//! What the listing says: the leaves that there are now, as failures distort them.

use serde::Serialize;

use super::requests::{Strike, is_struck};
use super::{State, World};
use crate::simulator::failure::{Failure, Mode};
use crate::simulator::pki::{ClientCertificate, PkiError};
use crate::trust::values::slot::Authority;

/// One entity of the listing.
#[derive(Serialize)]
pub(in crate::simulator) struct Listed {
    #[serde(rename = "signingAuthority", skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
    certificate: String,
    status: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Listed {
    fn new(authority: Authority, certificate: String, status: &'static str) -> Self {
        Self { authority: Some(authority.name().to_owned()), certificate, status, kind: "Client" }
    }
}

/// The leaves that a listing shows, before anything is written.
struct Leaves {
    current: Option<ClientCertificate>,
    upcoming: Option<ClientCertificate>,
    genesys: ClientCertificate,
}

impl World {
    /// What the listing says under this filter and these failures.
    pub(in crate::simulator) fn listed(
        &self,
        status: Option<&str>,
        kind: Option<&str>,
        strikes: &[Strike],
    ) -> Result<Vec<Listed>, PkiError> {
        let mut state = self.advanced()?;
        let leaves = self.leaves(&mut state, strikes)?;
        let form = state.pem;
        let mut listed = Vec::new();
        if let Some(current) = leaves.current {
            let text = self.text_of_current(&mut state, &current, strikes)?;
            listed.push(Listed::new(Authority::DigiCert, text, "Current"));
        }
        if let Some(upcoming) = leaves.upcoming {
            listed.push(Listed::new(Authority::DigiCert, form.text(&upcoming.with_issuers()), "Upcoming"));
        }
        if self.0.options.genesys {
            listed.push(Listed::new(Authority::Genesys, form.text(&leaves.genesys.presented()), "Current"));
        }
        let besides = state.besides.iter();
        listed.extend(besides.map(|(status, text)| Listed::new(Authority::DigiCert, text.clone(), status)));
        for failure in
            [Failure::UnknownStatus, Failure::UnknownType, Failure::UnknownAuthority, Failure::MissingAuthority]
        {
            if is_struck(strikes, failure) {
                let leaf = self.odd(&mut state, failure)?;
                let mut more = Listed::new(Authority::DigiCert, form.text(&leaf.with_issuers()), "Current");
                match failure {
                    Failure::UnknownStatus => more.status = "Superseded",
                    Failure::UnknownType => more.kind = "Server",
                    Failure::UnknownAuthority => more.authority = Some("Verisign".into()),
                    _ => more.authority = None,
                }
                listed.push(more);
            }
        }
        if is_struck(strikes, Failure::HundredOddEntities) {
            let leaf = self.odd(&mut state, Failure::UnknownStatus)?;
            let text = form.text(&leaf.with_issuers());
            for number in 0..100 {
                let mut more = Listed::new(Authority::DigiCert, text.clone(), "Current");
                match number % 3 {
                    0 => more.authority = Some(format!("Authority {number}")),
                    1 => more.kind = "Server",
                    _ => more.status = "Superseded",
                }
                listed.push(more);
            }
        }
        if is_struck(strikes, Failure::HundredRefusedLeaves) {
            let stranger = self.odd(&mut state, Failure::CurrentOtherCa)?;
            let text = form.text(&stranger.with_issuers());
            // Each text is its own: trailing blanks differ.
            let more = (0..100).map(|number| format!("{text}{}", "\n".repeat(number)));
            listed.extend(more.map(|text| Listed::new(Authority::DigiCert, text, "Current")));
        }
        if is_struck(strikes, Failure::LowerCaseAuthority) {
            listed.iter_mut().filter_map(|one| one.authority.as_mut()).for_each(|name| name.make_ascii_lowercase());
        }
        let shows_upcoming = state.mode == Mode::ListsAll;
        listed.retain(|one| match status {
            Some(status) => one.status == status,
            None => shows_upcoming || one.status != "Upcoming",
        });
        listed.retain(|one| kind.is_none_or(|kind| one.kind == kind));
        if is_struck(strikes, Failure::EmptyEntities) {
            listed.clear();
        }
        Ok(listed)
    }

    fn leaves(&self, state: &mut State, strikes: &[Strike]) -> Result<Leaves, PkiError> {
        let mut leaves = Leaves {
            current: Some(state.current.clone()),
            upcoming: state.upcoming.clone(),
            genesys: state.genesys.clone(),
        };
        for strike in strikes {
            match strike.failure {
                Failure::EmptyUpcoming => leaves.upcoming = None,
                Failure::CurrentAbsent => leaves.current = None,
                failure @ (Failure::UpcomingWrongName
                | Failure::UpcomingStranger
                | Failure::UpcomingExpired
                | Failure::UpcomingNotYetValid
                | Failure::UpcomingCa
                | Failure::UpcomingOtherCa) => leaves.upcoming = Some(self.odd(state, failure)?),
                failure @ (Failure::CurrentExpired | Failure::CurrentWrongName | Failure::CurrentOtherCa) => {
                    leaves.current = Some(self.odd(state, failure)?);
                }
                failure @ Failure::GenesysOtherRoot => leaves.genesys = self.odd(state, failure)?,
                _ => {}
            }
        }
        // These come last: they hide what another failure lists.
        let is_hidden = |failure| strikes.iter().any(|strike| strike.failure == failure && strike.odd);
        leaves.current.take_if(|_| is_hidden(Failure::FlappingCurrent));
        leaves.upcoming.take_if(|_| is_hidden(Failure::FlappingUpcoming));
        Ok(leaves)
    }

    /// The Current as PEM, or what a failure makes of it.
    fn text_of_current(
        &self,
        state: &mut State,
        current: &ClientCertificate,
        strikes: &[Strike],
    ) -> Result<String, PkiError> {
        let form = state.pem;
        let mut chain = current.with_issuers();
        if is_struck(strikes, Failure::TwoLeaves) {
            chain.insert(0, self.odd(state, Failure::TwoLeaves)?.der().to_vec());
        }
        let mut text = form.text(&chain);
        if is_struck(strikes, Failure::PrivateKeyInPem) {
            let stranger = self.odd(state, Failure::PrivateKeyInPem)?;
            text.push_str("\r\n ");
            text.push_str(&form.labelled("PRIVATE KEY", stranger.key_der()));
        }
        if is_struck(strikes, Failure::TruncatedPem) {
            let head: String = text.chars().take(200).collect();
            text = format!("{head}...\r\n-----END CERTIFICATE-----");
        }
        Ok(text)
    }
}
