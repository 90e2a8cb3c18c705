//! The two ways in which the daemon has a turn's steps taken: by itself, and through root's half.

use super::privileged::answer::Verdict;
use super::privileged::ask::PrivilegedHelper;
use super::report::Report;
use super::steps::{Hand, Server};
use super::turns::Turns;
use crate::exit::Exit;
use crate::store::privileged::Asked;
use crate::targets::reload::ReloadReport;
use crate::trust::event;
use crate::trust::evidence_record::Happened;
use crate::trust::finding::Finding;
use crate::trust::state::TargetState;
use crate::trust::subject::Subject;
use crate::trust::turn::{Event, Number, Owed, Proof};

/// The daemon takes each step itself.
pub struct Direct<'a> {
    pub turns: &'a Turns<'a>,
    pub server: Server<'a>,
    pub state: &'a TargetState,
    pub report: &'a mut Report,
}

impl Hand for Direct<'_> {
    fn server(&self) -> &Server<'_> {
        &self.server
    }

    async fn reload(&mut self) -> Result<Event, Owed> {
        let Self { turns, server, report, .. } = self;
        Ok(match server.reload().await {
            Ok(reloaded) => {
                if let ReloadReport::Reloaded { .. } = reloaded {
                    report.findings.push(Finding::new(
                        event::Event::TargetReloadedInstead,
                        Subject::target(&turns.target.name),
                        reloaded.to_string(),
                    ));
                }
                report.noted(turns.evidence(Happened::Told, turns.manifest.generation, &reloaded.to_string()));
                Event::Succeeded
            }
            Err(error) => {
                report.causes.insert(Exit::Owed);
                Event::Failed(error.to_string())
            }
        })
    }

    async fn prove(&mut self, reloaded: bool) -> Proof {
        self.turns.prove(&self.server.link, reloaded, self.state, self.report).await
    }
}

/// Root's half checks, switches and tells, all when it is asked to tell; the daemon reads back and proves.
pub struct ThroughRoot<'a> {
    pub turns: &'a Turns<'a>,
    pub half: &'a PrivilegedHelper<'a>,
    pub server: Server<'a>,
    pub state: &'a TargetState,
    pub report: &'a mut Report,
}

impl Hand for ThroughRoot<'_> {
    fn server(&self) -> &Server<'_> {
        &self.server
    }

    fn switch(&self, _number: Number) -> Event {
        Event::Succeeded
    }

    /// What root's half owes, the target owes.
    async fn reload(&mut self) -> Result<Event, Owed> {
        let answer = self.half.ask(Asked::ToReload).await.map_err(Owed::Unanswered)?;
        self.report.findings.extend(answer.findings);
        match answer.verdict {
            Verdict::Reloaded(words) => {
                self.report.noted(self.turns.evidence(Happened::Told, self.turns.manifest.generation, &words));
                Ok(Event::Succeeded)
            }
            Verdict::Owed(owed) => Err(owed),
            Verdict::Withheld(why) => Err(Owed::Withheld(why)),
        }
    }

    async fn prove(&mut self, reloaded: bool) -> Proof {
        self.turns.prove(&self.server.link, reloaded, self.state, self.report).await
    }
}
