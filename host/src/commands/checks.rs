//! The checks that `doctor` and `status` share: whether Claude Code calls our hooks, whether another tool sends the
//! same sessions, and whether sessions start without a hook.

use crate::claude_code::hooks::{Hooks, Ours};
use crate::outbox::Millis;

/// The result of one check.
#[derive(Debug, serde::Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) ok: bool,
    /// What was found.
    pub(super) found: String,
    /// What to do.
    pub(super) advice: Option<String>,
    /// This is a remaining step on a fresh machine, not a problem.
    #[serde(skip)]
    pub(super) is_next: bool,
}

/// A session that began this much later than the last hook should have called one, if hooks are installed.
const WITHOUT_A_HOOK: Millis = 10 * 60 * 1000;

/// What is known about hook calls and sessions.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Seen {
    /// When the last hook was called.
    pub(super) hook: Option<Millis>,
    /// When the newest session began.
    pub(super) newest_session: Option<Millis>,
    /// Whether it is in the record.
    pub(super) newest_is_known: bool,
}

#[derive(Debug, Default)]
pub(super) struct Checks(pub(super) Vec<Check>);

impl Checks {
    pub(super) fn good(&mut self, name: &'static str, found: impl Into<String>) {
        self.0.push(Check { name, ok: true, found: found.into(), advice: None, is_next: false });
    }

    pub(super) fn bad(&mut self, name: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Check { name, ok: false, found: found.into(), advice: Some(advice.into()), is_next: false });
    }

    /// Like [`bad`](Self::bad), for what a fresh machine does not have yet.
    pub(super) fn next(&mut self, name: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Check { name, ok: false, found: found.into(), advice: Some(advice.into()), is_next: true });
    }

    /// Did all checks pass?
    pub(super) fn all_good(&self) -> bool {
        self.0.iter().all(|check| check.ok)
    }

    /// Is the plugin missing, moved or disabled, or are all hooks?
    pub(super) fn hooks_missing(&self) -> bool {
        self.0.iter().any(|check| !check.ok && matches!(check.name, "plugin" | "hooks"))
    }

    /// The problems that need the user, each as a sentence.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter(|check| !check.ok).map(|check| {
            let advice = check.advice.as_deref().unwrap_or_default();
            format!("{}: {}. {advice}", check.name, check.found).trim_end().to_owned()
        })
    }

    /// Checks that Claude Code calls our hooks and no other tool's for the same sessions.
    pub(super) fn of_hooks(&mut self, hooks: &Hooks, seen: Seen) {
        match &hooks.ours {
            Ours::Settings => self.good("plugin", "its hooks are in settings.json"),
            Ours::Plugin(name) => self.good("plugin", format!("{name} is installed")),
            Ours::Disabled(name) => {
                self.bad("plugin", format!("{name} is disabled"), format!("Run `claude plugin enable {name}`."));
            }
            Ours::Moved(name, path) => self.bad(
                "plugin",
                format!("{name} is installed from {}, which no longer exists", path.display()),
                "Put the folder back, or add its marketplace again and reinstall the plugin.",
            ),
            // A plugin that was given on the command line is in no settings file, but its hooks are called.
            Ours::Nobody if seen.hook.is_some_and(|hook| seen.newest_session.is_none_or(|newest| newest <= hook)) => {
                self.good("plugin", "not installed, but its hooks arrive");
            }
            Ours::Nobody => self.next(
                "plugin",
                "not installed",
                "Run `claude plugin marketplace add posthog/posthog-llma`, then `claude plugin install posthog@posthog-llma`.",
            ),
        }
        if hooks.all_disabled {
            let advice = "Remove it: without hooks nothing is sent.";
            self.bad("hooks", "`disableAllHooks` is true in settings.json", advice);
        } else {
            self.good("hooks", "not disabled");
        }
        for (other, advice) in &hooks.others {
            let found = format!(
                "{other} also sends these sessions to PostHog, so each event would be counted and billed twice"
            );
            self.bad("another sender", found, format!("{advice}."));
        }
        self.newest_session(hooks, seen);
    }

    /// Checks that the newest session called a hook, if it began after the hooks were installed.
    fn newest_session(&mut self, hooks: &Hooks, seen: Seen) {
        let Some(began) = seen.newest_session else { return };
        let installed = matches!(hooks.ours, Ours::Settings | Ours::Plugin(_));
        let after_installation = hooks.since.is_some_and(|since| began > since);
        let late = began - seen.hook.unwrap_or(Millis::MIN / 2) > WITHOUT_A_HOOK;
        if installed && !hooks.all_disabled && after_installation && late && !seen.newest_is_known {
            self.bad(
                "newest session",
                "it started without a hook",
                "Restart Claude Code: it reads its hooks at startup, and `/hooks` shows them. `posthog-llma ingest` sends the session.",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks(ours: Ours) -> Hooks {
        Hooks { ours, since: Some(1000), all_disabled: false, others: Vec::new() }
    }

    fn problems(hooks: &Hooks, seen: Seen) -> Vec<String> {
        let mut checks = Checks::default();
        checks.of_hooks(hooks, seen);
        checks.problems().collect()
    }

    const PLUGIN: &str = "posthog@posthog-llma";

    #[test]
    fn a_fresh_installation_is_well() {
        assert!(problems(&hooks(Ours::Plugin(PLUGIN.into())), Seen::default()).is_empty());
        // Sessions from before the installation.
        let seen = Seen { newest_session: Some(500), ..Seen::default() };
        assert!(problems(&hooks(Ours::Plugin(PLUGIN.into())), seen).is_empty());
    }

    #[test]
    fn an_uninstalled_moved_or_disabled_plugin_is_a_problem() {
        for (ours, says) in [
            (Ours::Nobody, "not installed"),
            (Ours::Disabled(PLUGIN.into()), "claude plugin enable"),
            (Ours::Moved(PLUGIN.into(), "/gone".into()), "/gone"),
        ] {
            let problems = problems(&hooks(ours), Seen::default());
            assert!(problems[0].contains(says), "{problems:?}");
        }
        // The plugin was uninstalled after its last hook.
        let seen = Seen { hook: Some(2000), newest_session: Some(3000), newest_is_known: false };
        assert_eq!(problems(&hooks(Ours::Nobody), seen).len(), 1);
        let seen = Seen { hook: Some(2000), newest_session: Some(1500), newest_is_known: true };
        assert!(problems(&hooks(Ours::Nobody), seen).is_empty());
    }

    #[test]
    fn a_session_without_a_hook_is_a_problem() {
        let ours = hooks(Ours::Plugin(PLUGIN.into()));
        let seen = Seen { newest_session: Some(5000), ..Seen::default() };
        assert!(problems(&ours, seen)[0].contains("without a hook"));
        assert!(problems(&ours, Seen { newest_is_known: true, ..seen }).is_empty());
        assert!(problems(&ours, Seen { hook: Some(5000), ..seen }).is_empty());
    }

    #[test]
    fn another_sender_is_named() {
        let mut both = hooks(Ours::Plugin(PLUGIN.into()));
        both.others.push(("the plugin posthog@official".into(), "disable it".into()));
        both.all_disabled = true;
        let problems = problems(&both, Seen::default());
        assert_eq!(problems.len(), 2);
        assert!(problems[1].contains("posthog@official") && problems[1].contains("twice"));
    }
}
