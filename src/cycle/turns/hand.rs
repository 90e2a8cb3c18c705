//! How the daemon takes a turn's steps: by itself, or through the privileged helper.

use super::Turns;
use crate::cycle::privileged::answer::Verdict;
use crate::cycle::privileged::folder::Purpose;
use crate::cycle::report::Report;
use crate::cycle::steps::{Hand, Server};
use crate::exit::Exit;
use crate::targets::reload::ReloadReport;
use crate::trust::event::Event::TargetReloadedInstead;
use crate::trust::records::evidence_record::Happened;
use crate::trust::records::state::TargetState;
use crate::trust::turn::{Event, Number, Owed};

/// The daemon takes each step itself, but for a privileged target: there the privileged helper checks, switches and
/// reloads, all when it is asked to reload, and the daemon reads back and proves.
pub struct Daemon<'a> {
    pub turns: &'a Turns<'a>,
    pub server: Server<'a>,
    pub state: &'a TargetState,
    pub report: &'a mut Report,
}

impl Daemon<'_> {
    fn note_reload(&mut self, how: &str) -> Event {
        self.report.noted(self.turns.evidence(Happened::Told, self.turns.manifest.generation, how));
        Event::Succeeded
    }
}

impl Hand for Daemon<'_> {
    fn server(&self) -> &Server<'_> {
        &self.server
    }

    fn switch(&self, number: Number) -> Event {
        if self.turns.helper.is_some() { Event::Succeeded } else { self.server.switch(number) }
    }

    /// What the privileged helper owes, the target owes.
    async fn reload(&mut self) -> Result<Event, Owed> {
        if let Some(helper) = &self.turns.helper {
            let answer = helper.ask(Purpose::ToReload).await.map_err(Owed::Unanswered)?;
            self.report.findings.extend(answer.findings);
            return match answer.verdict {
                Verdict::Reloaded(how) => Ok(self.note_reload(&how)),
                Verdict::Owed(owed) => Err(owed),
                Verdict::Withheld(why) => Err(Owed::Withheld(why)),
            };
        }
        Ok(match self.server.reload().await {
            Ok(reloaded) => {
                if let ReloadReport::Reloaded(_) = reloaded {
                    self.report.findings.push(self.turns.finding(TargetReloadedInstead, reloaded.to_string()));
                }
                self.note_reload(&reloaded.to_string())
            }
            Err(error) => {
                self.report.causes.insert(Exit::Owed);
                Event::Failed(error.to_string())
            }
        })
    }

    async fn prove(&mut self, reloaded: bool) -> Event {
        self.turns.prove(&self.server.link, reloaded, self.state, self.report).await
    }
}
