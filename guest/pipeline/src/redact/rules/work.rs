//! Chat, mail, design, documents, tickets.

use super::super::bytes::{
    ALNUM, BASE64, DASH, DIGIT, DOT, DOTTED, HEX, LOWER_DIGIT, PERCENT, PLUS_SLASH, URL64, WORD,
};
use super::super::token::Part::{Is, Run};
use super::super::token::Token;
use super::{address, inside, random, token};

const PATH: super::super::bytes::Set = DOTTED | PLUS_SLASH | PERCENT;

pub const TOKENS: [Token; 26] = [
    token(
        "slack-token",
        &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxo-", "xoxc-", "xoxd-", "xoxe-", "xoxe."],
        &[Run(DOTTED | PERCENT, 12, 400)],
    ),
    token("slack-token", &["xapp-", "xwfp-"], &[Run(DIGIT, 1, 1), Is("-"), Run(URL64, 20, 200)]),
    address(
        "slack-webhook",
        &["hooks.slack.com/services/", "hooks.slack.com/workflows/", "hooks.slack.com/triggers/"],
        &[Run(PATH, 16, 200)],
    ),
    address("discord-webhook", &["discord.com/api/webhooks/", "discordapp.com/api/webhooks/"], &[Run(PATH, 30, 200)]),
    address(
        "teams-webhook",
        &["webhook.office.com/webhookb2/", "outlook.office.com/webhook/"],
        &[Run(PATH | super::super::bytes::VALUE, 36, 400)],
    ),
    address("zapier-webhook", &["hooks.zapier.com/hooks/catch/"], &[Run(PATH, 6, 100)]),
    address("ifttt-key", &["maker.ifttt.com/trigger/"], &[Run(PATH, 20, 200)]),
    token("sendgrid-api-key", &["SG."], &[Run(URL64, 16, 32), Is("."), Run(URL64, 32, 64)]),
    token("mailgun-key", &["key-"], &[Run(HEX, 32, 32)]),
    inside(
        "mailchimp-api-key",
        (HEX, 32, 32),
        &["-us1", "-us2", "-us3", "-us4", "-us5", "-us6", "-us7", "-us8", "-us9"],
        &[Run(DIGIT, 0, 1)],
    ),
    token("brevo-api-key", &["xkeysib-", "xsmtpsib-"], &[Run(HEX, 64, 64), Is("-"), Run(ALNUM, 16, 16)]),
    random("resend-api-key", &["re_"], &[Run(ALNUM, 8, 8), Is("_"), Run(ALNUM, 20, 40)]),
    token("figma-token", &["figd_", "figo_", "figu_", "figp_", "figs_"], &[Run(URL64, 30, 80)]),
    token("linear-key", &["lin_api_", "lin_oauth_"], &[Run(ALNUM, 30, 80)]),
    token("notion-token", &["ntn_"], &[Run(ALNUM, 40, 60)]),
    random("notion-token", &["secret_"], &[Run(ALNUM, 43, 43)]),
    token("typeform-token", &["tfp_"], &[Run(URL64 | DOT, 40, 80)]),
    token("contentful-token", &["CFPAT-"], &[Run(URL64, 40, 60)]),
    token("clickup-token", &["pk_"], &[Run(DIGIT, 5, 12), Is("_"), Run(ALNUM, 28, 40)]),
    token("trello-token", &["ATTA"], &[Run(HEX, 60, 80)]),
    token("hubspot-token", &["pat-na1-", "pat-na2-", "pat-eu1-", "pat-ap1-"], &[Run(HEX | DASH, 36, 36)]),
    random("dropbox-token", &["sl.u.", "sl.B", "sl.A", "sl.C"], &[Run(URL64, 100, 2000)]),
    token("pinterest-token", &["pina_"], &[Run(ALNUM, 32, 400)]),
    token("twitch-token", &["oauth:"], &[Run(LOWER_DIGIT, 30, 30)]),
    // A signed session cookie (express-session), whatever its name is: `s:<id>.<signature>`, percent-encoded.
    token("cookie", &["s%3A"], &[Run(URL64, 16, 64), Is("."), Run(BASE64 | PERCENT, 40, 90)]),
    token("intercom-token", &["dG9rO"], &[Run(BASE64 | WORD, 40, 80)]),
];
