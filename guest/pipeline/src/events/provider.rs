//! What a model's name says: who made it, but not whose account it runs in.

use std::borrow::Cow;

/// Vendors that Amazon Bedrock puts before a model's name: `meta.llama3-3-70b-instruct-v1:0`,
/// `eu.amazon.nova-pro-v1:0`.
const BEDROCK_VENDORS: [&str; 20] = [
    "ai21",
    "amazon",
    "anthropic",
    "cohere",
    "deepseek",
    "google",
    "luma",
    "meta",
    "minimax",
    "mistral",
    "moonshot",
    "moonshotai",
    "nvidia",
    "openai",
    "qwen",
    "stability",
    "twelvelabs",
    "writer",
    "xai",
    "zai",
];

/// Digits of an Amazon account number.
const ACCOUNT: usize = 12;

/// `$ai_provider`: `anthropic` for Anthropic's models, wherever they run; otherwise the part before `/`, or Bedrock's
/// vendor.
pub fn of(model: &str) -> Option<String> {
    let model = model.to_ascii_lowercase();
    // A router's rule: `openrouter,anthropic/claude-sonnet-4`.
    let model = model.rsplit(',').next().unwrap_or_default().trim();
    let name = model.rsplit('/').next().unwrap_or_default();
    let is_anthropics = name.starts_with("claude") || bedrock_vendor(name) == Some("anthropic");
    if is_anthropics {
        return Some("anthropic".to_owned());
    }
    let vendor = match model.split_once('/') {
        Some((before, _)) if !is_arn(model) => Some(before),
        _ => bedrock_vendor(name),
    };
    vendor.filter(|vendor| is_word(vendor)).map(str::to_owned)
}

/// The vendor of a Bedrock model, which follows its region, if there is one.
fn bedrock_vendor(name: &str) -> Option<&str> {
    name.split('.').take(2).find(|part| BEDROCK_VENDORS.contains(part)).filter(|vendor| name.len() > vendor.len())
}

fn is_arn(model: &str) -> bool {
    model.starts_with("arn:") || model.contains("/arn:") || model.contains("arn%3a")
}

fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
}

/// `$ai_model`: as the client wrote it, but without account numbers in Amazon resource names.
pub fn model(model: &str) -> Cow<'_, str> {
    if !is_arn(&model.to_ascii_lowercase()) {
        return Cow::Borrowed(model);
    }
    let mut out = String::with_capacity(model.len());
    let mut rest = model;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, digits) = rest.split_at(at);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        out.push_str(before);
        if end != ACCOUNT {
            out.push_str(&digits[..end]);
        }
        rest = &digits[end..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_what_the_name_says() {
        for (model, provider) in [
            ("claude-opus-4-6", Some("anthropic")),
            ("claude-sonnet-4-5@20250929", Some("anthropic")),
            ("Claude-Opus-4", Some("anthropic")),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Some("anthropic")),
            ("anthropic.claude-v2", Some("anthropic")),
            ("anthropic/claude-sonnet-4", Some("anthropic")),
            ("openrouter,anthropic/claude-sonnet-4", Some("anthropic")),
            ("vertex_ai/claude-opus-4", Some("anthropic")),
            (
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-v1:0",
                Some("anthropic"),
            ),
            ("arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/4jqtkehs0zy3", None),
            ("arn:aws:bedrock:eu-west-1::foundation-model/meta.llama3-8b-instruct-v1:0", Some("meta")),
            ("openai/gpt-5.6", Some("openai")),
            ("openrouter,x-ai/grok-4", Some("x-ai")),
            ("eu.amazon.nova-pro-v1:0", Some("amazon")),
            ("mistral.mistral-large-2407-v1:0", Some("mistral")),
            ("deepseek-v4-pro", None),
            ("deepseek,deepseek-chat", None),
            ("kimi-k2.5", None),
            ("gpt-5.6-sol", None),
            ("qwen2.5-coder", None),
            ("amazon", None),
            ("a b/c", None),
            ("/x", None),
            ("", None),
        ] {
            assert_eq!(of(model).as_deref(), provider, "{model}");
        }
    }

    #[test]
    fn an_account_number_does_not_leave() {
        for (name, sent) in [
            (
                "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/4jq",
                "arn:aws:bedrock:eu-west-1::application-inference-profile/4jq",
            ),
            (
                "bedrock/ARN:aws-us-gov:bedrock:us-gov-west-1:123456789012:prompt/1",
                "bedrock/ARN:aws-us-gov:bedrock:us-gov-west-1::prompt/1",
            ),
            (
                "arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Fx",
                "arn%3Aaws%3Abedrock%3Aeu-west-1%3A%3Ainference-profile%2Fx",
            ),
            ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929"),
        ] {
            assert_eq!(model(name), sent);
        }
    }
}
