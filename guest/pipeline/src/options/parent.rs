//! Another program's trace that a session is attached to: what started the client (a job, an orchestrator) has its own
//! trace, and gives its id.

use super::parse::{Context, InvalidVariable, Refusal};
use super::{ConversionOptions, PARENT_SPAN_ID, PARENT_TRACE_ID};
use crate::identity;

/// Where OpenTelemetry says which trace a process belongs to (W3C Trace Context). It only counts if the person asks for
/// it: many tools set it, and none of them decided anything about this program.
pub const TRACEPARENT: &str = "TRACEPARENT";

/// The value of [`PARENT_TRACE_ID`] that asks for it.
const ASKED: &str = "traceparent";

/// The IDs of a `traceparent`.
#[derive(Debug, PartialEq, Eq)]
struct Traceparent<'a> {
    trace_id: &'a str,
    span_id: &'a str,
}

impl<'a> Traceparent<'a> {
    /// Reads `version-traceid-spanid-flags`, as in the recommendation: lower-case digits, and no id of only zeros. A
    /// version after 00 may have more at the end; ff is not a version.
    fn parse(text: &'a str) -> Result<Self, &'static str> {
        let hexadecimal = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let mut parts = text.trim().splitn(5, '-');
        let mut next = || parts.next().unwrap_or_default();
        let (version, trace_id, span_id, flags) = (next(), next(), next(), next());
        if !hexadecimal(version, 2) || version == "ff" {
            return Err("does not start with a version such as 00");
        }
        if !hexadecimal(trace_id, 32) || !hexadecimal(span_id, 16) || !hexadecimal(flags, 2) {
            return Err("does not have the form 00-<32 digits>-<16 digits>-<2 digits>, in lower-case hexadecimal");
        }
        if version == "00" && parts.next().is_some() {
            return Err("is longer than version 00 allows");
        }
        let is_zero = |id: &str| id.bytes().all(|b| b == b'0');
        if is_zero(trace_id) || is_zero(span_id) {
            return Err("has an ID of zeros, which means none");
        }
        Ok(Self { trace_id, span_id })
    }
}

fn asks_for_traceparent(value: &str) -> bool {
    value.eq_ignore_ascii_case(ASKED)
}

/// What is wrong with an id from another system, if anything.
pub fn id_problem(id: &str) -> Option<String> {
    (!identity::is_sendable(id)).then(|| {
        format!("is not an ID that PostHog accepts: 1 to {} letters, digits and -_~.@()!':|", identity::LONGEST_ID)
    })
}

pub(super) fn trace_id(value: &str, context: &Context<'_>) -> Result<Option<String>, Refusal> {
    if !asks_for_traceparent(value) {
        return span_id(value, context);
    }
    let Some(text) = context.set(TRACEPARENT) else { return Ok(None) };
    match Traceparent::parse(&text) {
        Ok(parent) => Ok(Some(parent.trace_id.to_owned())),
        Err(problem) => Err(Refusal::Whole(format!("{TRACEPARENT} {} {problem}", context.shown(&text)))),
    }
}

pub(super) fn span_id(value: &str, _: &Context<'_>) -> Result<Option<String>, Refusal> {
    id_problem(value).map_or_else(|| Ok(Some(value.to_owned())), |problem| Err(Refusal::OfValue(problem)))
}

/// Combines the two variables: uses the span of a `traceparent` if no other is given; and a span needs a trace.
pub(super) fn complete(options: &mut ConversionOptions, context: &Context<'_>) -> Result<(), InvalidVariable> {
    let asked = context.set(PARENT_TRACE_ID).is_some_and(|value| asks_for_traceparent(&value));
    match (&options.parent_trace_id, &options.parent_span_id) {
        (Some(_), None) if asked => {
            let text = context.set(TRACEPARENT).unwrap_or_default();
            options.parent_span_id = Traceparent::parse(&text).ok().map(|parent| parent.span_id.to_owned());
        }
        // Nothing that started this client gives its trace.
        (None, Some(_)) if asked => options.parent_span_id = None,
        (None, Some(_)) => {
            return Err(InvalidVariable {
                variable: PARENT_SPAN_ID,
                reason: format!("a span is only found within its trace; also set {PARENT_TRACE_ID}"),
            });
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn parse(variables: &[(&str, &str)]) -> Result<Ids, InvalidVariable> {
        let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let options = ConversionOptions::parse(lookup)?;
        Ok((options.parent_trace_id, options.parent_span_id))
    }

    type Ids = (Option<String>, Option<String>);

    fn some(trace: &str, span: Option<&str>) -> Ids {
        (Some(trace.to_owned()), span.map(str::to_owned))
    }

    #[test]
    fn ids_are_taken_as_they_are() {
        assert_eq!(parse(&[(PARENT_TRACE_ID, "job-17")]), Ok(some("job-17", None)));
        assert_eq!(
            parse(&[(PARENT_TRACE_ID, "job-17"), (PARENT_SPAN_ID, "step:2|a")]),
            Ok(some("job-17", Some("step:2|a")))
        );
        let longest = "x".repeat(200);
        assert_eq!(parse(&[(PARENT_TRACE_ID, &longest)]), Ok(some(&longest, None)));
        assert_eq!(parse(&[(TRACEPARENT, &format!("00-{TRACE}-{SPAN}-01"))]), Ok((None, None)));
    }

    #[test]
    fn an_id_that_posthog_does_not_take_is_an_error() {
        for id in [" ", "a b", "a/b", "é", "a\nb", "\"", "{}", "a,b", &"x".repeat(201)] {
            for name in [PARENT_TRACE_ID, PARENT_SPAN_ID] {
                let other = if name == PARENT_TRACE_ID { (PARENT_SPAN_ID, "s") } else { (PARENT_TRACE_ID, "t") };
                let error = parse(&[other, (name, id)]).unwrap_err();
                assert_eq!(error.variable, name, "{id:?}");
                assert!(error.reason.contains("1 to 200 letters"), "{error}");
            }
        }
    }

    #[test]
    fn a_span_needs_a_trace() {
        let error = parse(&[(PARENT_SPAN_ID, "s")]).unwrap_err();
        assert!(error.variable == PARENT_SPAN_ID && error.reason.contains(PARENT_TRACE_ID), "{error}");
    }

    #[test]
    fn a_traceparent_counts_when_it_is_asked_for() {
        let asked = (PARENT_TRACE_ID, "traceparent");
        for text in [
            format!("00-{TRACE}-{SPAN}-01"),
            format!(" 00-{TRACE}-{SPAN}-00\n"),
            format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"),
            format!("cc-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(parse(&[asked, (TRACEPARENT, &text)]), Ok(some(TRACE, Some(SPAN))), "{text}");
            let span = (PARENT_SPAN_ID, "mine");
            assert_eq!(parse(&[asked, span, (TRACEPARENT, &text)]), Ok(some(TRACE, Some("mine"))), "{text}");
        }
        let upper = (PARENT_TRACE_ID, "TraceParent");
        assert_eq!(parse(&[upper, (TRACEPARENT, &format!("00-{TRACE}-{SPAN}-01"))]), Ok(some(TRACE, Some(SPAN))));
        // Nothing gives one: then the session is a trace of its own.
        assert_eq!(parse(&[asked]), Ok((None, None)));
        assert_eq!(parse(&[asked, (TRACEPARENT, ""), (PARENT_SPAN_ID, "s")]), Ok((None, None)));
    }

    #[test]
    fn a_traceparent_that_is_none_is_an_error() {
        let zeros = "0".repeat(32);
        for text in [
            "x".to_owned(),
            "-".repeat(5),
            TRACE.to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("0G-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}a-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &SPAN[1..]),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("cc-{TRACE}-{SPAN}-01more"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{}é-{SPAN}-01", &TRACE[2..]),
        ] {
            let error = parse(&[(PARENT_TRACE_ID, "traceparent"), (TRACEPARENT, &text)]).unwrap_err();
            assert_eq!(error.variable, PARENT_TRACE_ID, "{text}");
            assert!(error.reason.contains(TRACEPARENT), "{error}");
        }
    }
}
