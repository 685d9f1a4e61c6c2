//! Lines as the clients write them, with their fields in the clients' order.

use super::era::Era;

/// A JSON value that is written already.
pub(crate) type Json = String;

/// Members of an object, in order.
pub(crate) type Members = Vec<(&'static str, Json)>;

pub(crate) fn text(value: &str) -> Json {
    serde_json::Value::from(value).to_string()
}

pub(crate) fn optional(value: Option<&str>) -> Json {
    value.map_or_else(|| "null".to_owned(), text)
}

pub(crate) fn object(members: &[(&'static str, Json)]) -> Json {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

pub(crate) fn list(items: &[Json]) -> Json {
    format!("[{}]", items.join(","))
}

/// RFC 3339 in UTC with milliseconds, from milliseconds since 1970.
pub(crate) fn timestamp(milliseconds: i64) -> String {
    let (days, within) = (milliseconds.div_euclid(86_400_000), milliseconds.rem_euclid(86_400_000));
    // Days to a civil date, by the era of 400 years that begins in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (within / 3_600_000, within / 60_000 % 60);
    let (second, millisecond) = (within / 1_000 % 60, within % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

/// What every line with a `uuid` says of where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) era: Era,
    pub(crate) session: String,
    pub(crate) cwd: String,
    pub(crate) branch: String,
    pub(crate) parent: Option<String>,
    pub(crate) sidechain: bool,
    pub(crate) prompt_id: Option<String>,
    pub(crate) agent_id: Option<String>,
}

impl Envelope {
    /// A whole line without its end. `body` holds `type` too; `after` follows `uuid` and `timestamp`.
    pub(crate) fn line(&self, body: Members, uuid: Option<&str>, at: i64, after: Members) -> String {
        let mut members: Members =
            vec![("parentUuid", optional(self.parent.as_deref())), ("isSidechain", self.sidechain.to_string())];
        let agent_id = self.agent_id.as_deref().map(|id| ("agentId", text(id)));
        if self.era.envelope_at_end() {
            members.extend(self.prompt_id.as_deref().map(|id| ("promptId", text(id))));
            members.extend(agent_id);
        } else {
            members.push(("userType", text("external")));
            members.extend(self.surroundings());
            members.extend(agent_id);
        }
        members.extend(body);
        members.extend(uuid.map(|uuid| ("uuid", text(uuid))));
        members.push(("timestamp", text(&timestamp(at))));
        members.extend(after);
        if self.era.envelope_at_end() {
            members.push(("userType", text("external")));
            members.push(("entrypoint", text("cli")));
            members.extend(self.surroundings());
        }
        object(&members)
    }

    fn surroundings(&self) -> Members {
        let mut members =
            vec![("cwd", text(&self.cwd)), ("sessionId", text(&self.session)), ("version", text(self.era.version()))];
        if self.era.has_branch() {
            members.push(("gitBranch", text(&self.branch)));
        }
        members
    }
}

/// A line of a transcript, still without its end.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) copies: Copies,
}

/// Whether a line may be repeated later on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    /// It has no `uuid` to know a copy by.
    Never,
    /// When a session is resumed.
    OnResume,
    /// Then, and into the file of the agent that compacts the main thread.
    Anywhere,
}
