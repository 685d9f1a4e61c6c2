//! Tokens of a call: the maximum of each count, and the calls that its total leaves out.

use crate::events::event::Object;
use crate::transcript::entry::{Iteration, Usage};

impl Usage {
    /// Takes the maximum of each count: counts are cumulative, and the last line of some gateways says 0.
    pub fn raise(&mut self, line: &Self) {
        let raise = |own: &mut Option<u64>, other: Option<u64>| *own = (*own).max(other);
        raise(&mut self.input_tokens, line.input_tokens);
        raise(&mut self.output_tokens, line.output_tokens);
        raise(&mut self.cache_read_input_tokens, line.cache_read_input_tokens);
        raise(&mut self.cache_creation_input_tokens, line.cache_creation_input_tokens);
        if let Some(other) = &line.cache_creation {
            let own = self.cache_creation.get_or_insert_default();
            raise(&mut own.ephemeral_5m_input_tokens, other.ephemeral_5m_input_tokens);
            raise(&mut own.ephemeral_1h_input_tokens, other.ephemeral_1h_input_tokens);
        }
        if let Some(other) = &line.server_tool_use {
            raise(&mut self.server_tool_use.get_or_insert_default().web_search_requests, other.web_search_requests);
        }
        if let Some(other) = &line.output_tokens_details {
            raise(&mut self.output_tokens_details.get_or_insert_default().thinking_tokens, other.thinking_tokens);
        }
        for (own, other) in [(&mut self.service_tier, &line.service_tier), (&mut self.speed, &line.speed)] {
            if other.is_some() {
                own.clone_from(other);
            }
        }
    }

    /// Input, output, cache read, cache write.
    pub fn tokens(&self) -> [Option<u64>; 4] {
        [self.input_tokens, self.output_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens]
    }

    /// Is every count 0 or missing?
    pub fn is_zero(&self) -> bool {
        self.tokens().into_iter().flatten().all(|count| count == 0)
    }

    /// The attempts and advisers' answers that the total leaves out, by their index in `iterations`. The total counts
    /// those of the types `message` and `fallback_message`, except those refused before another model answered.
    pub fn beside(&self) -> Vec<(usize, &Iteration)> {
        let all = || self.iterations.iter().enumerate().filter_map(|(at, i)| Some((at, i.as_ref()?)));
        let attempts: Vec<_> = all().filter(|(_, i)| i.is_attempt()).collect();
        let total = self.tokens().map(Option::unwrap_or_default);
        let is_total = |attempts: &[(usize, &Iteration)]| {
            let mut sum = [0_u64; 4];
            for (_, attempt) in attempts {
                for (sum, count) in sum.iter_mut().zip(attempt.usage().tokens()) {
                    *sum = sum.saturating_add(count.unwrap_or_default());
                }
            }
            sum == total
        };
        let fallback = attempts.iter().position(|(_, i)| i.kind.as_deref() == Some("fallback_message"));
        let counted_from = match fallback {
            Some(_) if is_total(&attempts) => 0,
            Some(fallback) => (1..attempts.len()).find(|from| is_total(&attempts[*from..])).unwrap_or(fallback),
            None => 0,
        };
        let refused = attempts[..counted_from].iter().map(|(at, _)| *at).collect::<Vec<_>>();
        let adds_up = is_total(&attempts[counted_from..]);
        all()
            .filter(|(at, i)| match i.kind.as_deref() {
                Some("advisor_message" | "compaction") => true,
                _ if i.is_attempt() => refused.contains(at),
                // For an unknown type, the sum shows whether it was counted.
                _ => adds_up,
            })
            .filter(|(_, i)| !i.usage().is_zero())
            .collect()
    }

    /// Writes the counts.
    pub fn write_tokens(&self, p: &mut Object) {
        p.some("$ai_input_tokens", self.input_tokens);
        p.some("$ai_output_tokens", self.output_tokens);
        p.some("$ai_cache_read_input_tokens", self.cache_read_input_tokens);
        p.some("$ai_cache_creation_input_tokens", self.cache_creation_input_tokens);
        // If PostHog has both, it sets their prices separately and ignores the total.
        if let Some(c) = &self.cache_creation
            && let (Some(five_minutes), Some(hour)) = (c.ephemeral_5m_input_tokens, c.ephemeral_1h_input_tokens)
            && Some(five_minutes.saturating_add(hour)) == self.cache_creation_input_tokens
        {
            p.field("$ai_cache_creation_5m_input_tokens", &five_minutes);
            p.field("$ai_cache_creation_1h_input_tokens", &hour);
        }
        p.field("$ai_cache_reporting_exclusive", &true);
        if let (Some(input), Some(output)) = (self.input_tokens, self.output_tokens) {
            p.field("$ai_total_tokens", &input.saturating_add(output));
        }
    }
}

impl Iteration {
    /// Is it an attempt to answer? The total includes attempts, except refused ones.
    fn is_attempt(&self) -> bool {
        matches!(self.kind.as_deref(), None | Some("message" | "fallback_message"))
    }

    /// Its counts.
    pub fn usage(&self) -> Usage {
        Usage {
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cache_read_input_tokens: self.cache_read_input_tokens,
            cache_creation_input_tokens: self.cache_creation_input_tokens,
            cache_creation: self.cache_creation.clone(),
            ..Usage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(usage: &str) -> Vec<usize> {
        let usage: Usage = serde_json::from_str(usage).unwrap();
        usage.beside().into_iter().map(|(at, _)| at).collect()
    }

    #[test]
    fn what_the_total_counts_is_not_counted_again() {
        let one = r#"{"input_tokens":3,"output_tokens":5,"iterations":[{"type":"message","input_tokens":1,"output_tokens":2},{"type":"message","input_tokens":2,"output_tokens":3}]}"#;
        assert!(beside(one).is_empty());
        let counted = r#"{"input_tokens":3,"output_tokens":5,"iterations":[{"type":"message","input_tokens":1,"output_tokens":2},{"type":"fallback_message","input_tokens":2,"output_tokens":3}]}"#;
        assert!(beside(counted).is_empty());
    }

    #[test]
    fn advisers_compactions_and_refused_attempts_are_beside_it() {
        let usage = |types: [&str; 4]| {
            let iterations: Vec<_> =
                types.iter().map(|t| format!(r#"{{"type":"{t}","input_tokens":7,"output_tokens":1}}"#)).collect();
            format!(r#"{{"input_tokens":7,"output_tokens":1,"iterations":[{}]}}"#, iterations.join(","))
        };
        assert_eq!(beside(&usage(["advisor_message", "message", "compaction", "advisor_message"])), [0, 2, 3]);
        assert_eq!(beside(&usage(["message", "fallback_message", "fallback_message", "advisor_message"])), [0, 1, 3]);
        assert_eq!(beside(&usage(["message", "new_type", "new_type", "new_type"])), [1, 2, 3]);
    }

    #[test]
    fn iterations_of_another_form_are_none() {
        for iterations in
            ["null", "5", r#""x""#, "{}", r#"[null,5,"x",[],{}]"#, r#"[{"type":"advisor_message","input_tokens":"7"}]"#]
        {
            assert!(beside(&format!(r#"{{"input_tokens":7,"iterations":{iterations}}}"#)).is_empty(), "{iterations}");
        }
    }
}
