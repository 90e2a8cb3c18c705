//! What the listing says: what there is now, under the failures that strike.

use serde::Serialize;

use super::World;
use super::requests::Strike;
use crate::simulator::failure::{Failure, Mode};
use crate::simulator::pki::PkiError;
use crate::trust::set::Authority;

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

impl World {
    /// What the listing says of this filter, under these failures.
    pub(in crate::simulator) fn listed(
        &self,
        status: Option<&str>,
        kind: Option<&str>,
        strikes: &[Strike],
    ) -> Result<Vec<Listed>, PkiError> {
        let mut state = self.advanced()?;
        let struck = |failure| strikes.iter().any(|strike| strike.failure == failure);
        let flapped = |failure| strikes.iter().any(|strike| strike.failure == failure && strike.odd);
        let mut current = Some(state.current.clone());
        let mut upcoming = state.upcoming.clone();
        let mut genesys = state.genesys.clone();
        for strike in strikes {
            match strike.failure {
                Failure::EmptyUpcoming => upcoming = None,
                Failure::CurrentAbsent => current = None,
                failure @ (Failure::UpcomingWrongName
                | Failure::UpcomingStranger
                | Failure::UpcomingExpired
                | Failure::UpcomingNotYetValid
                | Failure::UpcomingCa
                | Failure::UpcomingOtherCa) => upcoming = Some(self.odd(&mut state, failure)?),
                failure @ (Failure::CurrentExpired | Failure::CurrentWrongName | Failure::CurrentOtherCa) => {
                    current = Some(self.odd(&mut state, failure)?)
                }
                failure @ Failure::GenesysOtherRoot => genesys = self.odd(&mut state, failure)?,
                _ => {}
            }
        }
        if flapped(Failure::FlappingCurrent) {
            current = None;
        }
        if flapped(Failure::FlappingUpcoming) {
            upcoming = None;
        }
        let form = state.pem;
        let mut listed = Vec::new();
        if let Some(current) = current {
            let mut text = form.text(&current.with_issuers());
            if struck(Failure::TwoLeaves) {
                let second = self.odd(&mut state, Failure::TwoLeaves)?;
                let both: Vec<Vec<u8>> = std::iter::once(second.der().to_vec()).chain(current.with_issuers()).collect();
                text = form.text(&both);
            }
            if struck(Failure::PrivateKeyInPem) {
                let stranger = self.odd(&mut state, Failure::PrivateKeyInPem)?;
                text.push_str("\r\n ");
                text.push_str(&form.labelled("PRIVATE KEY", stranger.key_der()));
            }
            if struck(Failure::TruncatedPem) {
                let head: String = text.chars().take(200).collect();
                text = format!("{head}...\r\n-----END CERTIFICATE-----");
            }
            listed.push(Listed::new(Authority::DigiCert, text, "Current"));
        }
        if let Some(upcoming) = upcoming {
            let text = form.text(&upcoming.with_issuers());
            listed.push(Listed::new(Authority::DigiCert, text, "Upcoming"));
        }
        if self.0.options.genesys {
            let text = form.text(&genesys.presented());
            listed.push(Listed::new(Authority::Genesys, text, "Current"));
        }
        for failure in
            [Failure::UnknownStatus, Failure::UnknownType, Failure::UnknownAuthority, Failure::MissingAuthority]
        {
            if struck(failure) {
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
        if struck(Failure::LowerCaseAuthority) {
            for one in &mut listed {
                one.authority = one.authority.take().map(|text| text.to_ascii_lowercase());
            }
        }
        let mode = state.mode;
        listed.retain(|one| match status {
            Some(status) => one.status == status,
            None => mode == Mode::ListsAll || one.status != "Upcoming",
        });
        listed.retain(|one| kind.is_none_or(|kind| one.kind == kind));
        if struck(Failure::EmptyEntities) {
            listed.clear();
        }
        Ok(listed)
    }
}
