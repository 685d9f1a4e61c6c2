//! Analytics, monitoring, feature flags, networks.

use super::super::bytes::{ALNUM, ANY_HEX, BASE64, DASH, DOTTED, HEX, LOWER_DIGIT, UPPER_DIGIT, URL64};
use super::super::token::Part::{Is, Run};
use super::super::token::{LONG, Token};
use super::{inside, random, token};

pub const TOKENS: [Token; 25] = [
    // A project's own token, `phc_`, is public: it is in web pages.
    token("posthog-key", &["phx_", "phs_", "pha_", "phr_"], &[Run(URL64, 20, 100)]),
    token("newrelic-key", &["NRAK-", "NRIQ-", "NRAA-", "NRII-", "NRSP-", "NRRA-"], &[Run(URL64, 24, 48)]),
    inside("newrelic-key", (HEX, 32, 36), &["NRAL", "FFFFNRAL"], &[Run(ALNUM, 0, 4)]),
    token("sentry-token", &["sntrys_"], &[Run(BASE64 | URL64, 40, LONG)]),
    token("sentry-token", &["sntryu_", "sntryi_", "sntrya_"], &[Run(HEX, 60, 70)]),
    token("grafana-token", &["glsa_"], &[Run(ALNUM, 32, 32), Is("_"), Run(ANY_HEX, 8, 8)]),
    token("grafana-token", &["glc_"], &[Run(BASE64, 32, 500)]),
    token("honeycomb-key", &["hcaik_", "hcbik_", "hcxik_", "hcamk_", "hcxlk_"], &[Run(LOWER_DIGIT, 26, 64)]),
    token(
        "dynatrace-token",
        &["dt0c01.", "dt0s01.", "dt0s02.", "dt0s04.", "dt0s06.", "dt0s08.", "dt0s16."],
        &[Run(UPPER_DIGIT, 8, 24), Is("."), Run(UPPER_DIGIT, 60, 64)],
    ),
    token("axiom-token", &["xaat-", "xapt-", "xait-"], &[Run(HEX | DASH, 36, 36)]),
    token("datadog-token", &["ddpat_", "ddapp_", "ddapi_"], &[Run(ALNUM, 30, 100)]),
    token("elastic-token", &["essu_"], &[Run(BASE64, 30, 200)]),
    token(
        "launchdarkly-key",
        &["sdk-", "api-", "mob-"],
        &[Run(HEX, 8, 8), Is("-"), Run(HEX, 4, 4), Is("-"), Run(HEX, 4, 4), Is("-"), Run(HEX | DASH, 17, 17)],
    ),
    random("statsig-secret", &["secret-"], &[Run(ALNUM, 36, 60)]),
    token("mongodb-atlas-secret", &["mdb_sa_sk_"], &[Run(URL64, 30, 80)]),
    token(
        "tailscale-key",
        &["tskey-auth-", "tskey-api-", "tskey-client-", "tskey-scim-", "tskey-webhook-", "tskey-"],
        &[Run(URL64, 16, 100)],
    ),
    token("pubnub-secret", &["sec-c-"], &[Run(ALNUM | DASH, 36, 64)]),
    token("stytch-secret", &["secret-live-", "secret-test-"], &[Run(BASE64 | URL64, 30, 60)]),
    token("firebase-server-key", &["APA91b"], &[Run(URL64, 100, 200)]),
    token("mapbox-token", &["sk.eyJ"], &[Run(DOTTED, 40, 400)]),
    token("onesignal-key", &["os_v2_app_", "os_v2_org_"], &[Run(LOWER_DIGIT, 60, 130)]),
    token("twitter-bearer-token", &["AAAAAAAAAAAAAAAAAAAAA"], &[Run(BASE64 | super::super::bytes::PERCENT, 60, 120)]),
    // Seeds of NATS' keys: `S`, the kind of key, Base32.
    random("nats-seed", &["SUA", "SAA", "SOA", "SNA", "SCA", "SXA"], &[Run(UPPER_DIGIT, 55, 55)]),
    token("confluent-secret", &["cflt"], &[Run(BASE64, 60, 60)]),
    inside(
        "telegram-bot-token",
        (super::super::bytes::DIGIT, 7, 9),
        &["0:AA", "1:AA", "2:AA", "3:AA", "4:AA", "5:AA", "6:AA", "7:AA", "8:AA", "9:AA"],
        &[Run(URL64, 32, 35)],
    ),
];
