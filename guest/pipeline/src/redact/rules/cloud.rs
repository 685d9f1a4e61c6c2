//! Clouds, hosting, databases, secret stores.

use super::super::bytes::{
    ALNUM, ANY_HEX, BASE64, DASH, DIGIT, DOTTED, EQUALS, HEX, LOWER_DIGIT, PERCENT, PLUS_SLASH, TILDE, UPPER_DIGIT,
    URL64,
};
use super::super::token::Part::{Is, Maybe, Run};
use super::super::token::{LONG, Token};
use super::{inside, random, token};

pub const TOKENS: [Token; 48] = [
    token("aws-access-key-id", &["AKIA", "ASIA", "ABIA", "ACCA", "A3TA", "A3TX"], &[Run(UPPER_DIGIT, 16, 16)]),
    token("aws-bedrock-api-key", &["ABSK"], &[Run(BASE64, 60, 400)]),
    token("aws-bedrock-api-key", &["bedrock-api-key-"], &[Run(BASE64, 40, LONG)]),
    token("aws-marketplace-key", &["amzn.mws."], &[Run(HEX | DASH, 36, 36)]),
    token("aws-login-secret", &["amzn1.oa2-cs.v1."], &[Run(HEX, 40, 80)]),
    token("google-api-key", &["AIza"], &[Run(URL64, 35, 35)]),
    token("google-oauth-secret", &["GOCSPX-"], &[Run(URL64, 24, 40)]),
    token("google-access-token", &["ya29."], &[Run(DOTTED, 20, LONG)]),
    random("google-refresh-token", &["1//0"], &[Run(URL64, 30, 200)]),
    inside(
        "azure-client-secret",
        (DOTTED | TILDE, 3, 3),
        &["0Q~", "1Q~", "2Q~", "3Q~", "4Q~", "5Q~", "6Q~", "7Q~", "8Q~", "9Q~"],
        &[Run(DOTTED | TILDE, 30, 36)],
    ),
    // Microsoft's identifiable keys: a signature of four characters near the end.
    inside(
        "azure-key",
        (ALNUM | PLUS_SLASH, 76, 76),
        &["+ASt", "+ABa", "AZEG", "ACDb"],
        &[Run(ALNUM | PLUS_SLASH, 5, 6), Is("=")],
    ),
    inside(
        "azure-key",
        (ALNUM | PLUS_SLASH, 33, 48),
        &["+ASb", "+AEh", "+ARm", "AIoT", "+ACR", "APIM", "AzFu", "AzCa", "AzSe", "+AMC"],
        &[Run(ALNUM | PLUS_SLASH | URL64, 5, 8), Maybe("=", EQUALS, 0)],
    ),
    inside("azure-devops-token", (ALNUM, 76, 76), &["AZDO"], &[Run(ALNUM, 4, 4)]),
    inside("azure-key", (ALNUM, 40, 60), &["JQQJ99"], &[Run(ALNUM, 20, 40)]),
    token(
        "azure-key",
        &["AccountKey=", "SharedAccessKey=", "accountkey=", "sharedaccesskey="],
        &[Run(BASE64, 40, 200)],
    ),
    token("alibaba-access-key-id", &["LTAI"], &[Run(ALNUM, 12, 26)]),
    random("tencent-secret-id", &["AKID"], &[Run(ALNUM, 28, 40)]),
    random("yandex-key", &["AQVN"], &[Run(URL64, 35, 40)]),
    random("yandex-key", &["YCAJ", "YCMJ"], &[Run(URL64, 20, 40)]),
    token("digitalocean-token", &["dop_v1_", "doo_v1_", "dor_v1_"], &[Run(HEX, 40, 80)]),
    token("heroku-api-key", &["HRKU-"], &[Run(URL64, 30, 80)]),
    token("cloudflare-token", &["cfut_", "cfat_", "cfk_"], &[Run(ALNUM, 30, 80)]),
    token("cloudflare-origin-key", &["v1.0-"], &[Run(HEX, 24, 24), Is("-"), Run(HEX, 100, 160)]),
    token("fly-token", &["fo1_"], &[Run(URL64, 35, 60)]),
    token("fly-token", &["fm1a_", "fm1r_", "fm2_"], &[Run(BASE64, 60, LONG)]),
    random("vercel-token", &["vcp_", "vci_", "vca_", "vcr_", "vck_"], &[Run(ALNUM, 24, 80)]),
    token("vercel-token", &["vercel_blob_rw_"], &[Run(URL64, 20, 100)]),
    token("netlify-token", &["nfp_", "nfo_", "nfu_", "nfc_", "nfb_"], &[Run(ALNUM, 36, 60)]),
    random("render-api-key", &["rnd_"], &[Run(ALNUM, 24, 60)]),
    token("planetscale-token", &["pscale_tkn_", "pscale_pw_", "pscale_oauth_"], &[Run(DOTTED, 30, 80)]),
    token("supabase-token", &["sbp_"], &[Run(LOWER_DIGIT, 40, 60)]),
    token("supabase-secret-key", &["sb_secret_"], &[Run(URL64, 20, 80)]),
    random("neon-api-key", &["napi_"], &[Run(ALNUM, 40, 80)]),
    token("databricks-token", &["dapi", "dose"], &[Run(HEX, 32, 32), Maybe("-", DIGIT, 1)]),
    token("hashicorp-vault-token", &["hvs.", "hvb.", "hvr."], &[Run(URL64, 24, 400)]),
    inside("terraform-token", (ALNUM, 14, 14), &[".atlasv1."], &[Run(URL64 | EQUALS, 50, 90)]),
    token("pulumi-token", &["pul-"], &[Run(HEX, 40, 40)]),
    token("doppler-token", &["dp.pt.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit."], &[Run(ALNUM, 30, 60)]),
    token("doppler-token", &["dp.st."], &[Run(DOTTED, 35, 100)]),
    token("infracost-api-key", &["ico-"], &[Run(ALNUM, 32, 32)]),
    token("age-secret-key", &["AGE-SECRET-KEY-"], &[Run(UPPER_DIGIT, 50, 80)]),
    token("onepassword-service-token", &["ops_eyJ"], &[Run(BASE64 | URL64, 60, LONG)]),
    token(
        "onepassword-secret-key",
        &["A3-"],
        &[Run(UPPER_DIGIT, 6, 6), Is("-"), Run(UPPER_DIGIT, 6, 11), Is("-"), Run(UPPER_DIGIT | DASH, 15, 24)],
    ),
    token("docker-token", &["dckr_pat_", "dckr_oat_"], &[Run(URL64, 24, 60)]),
    token("openshift-token", &["sha256~"], &[Run(URL64, 40, 60)]),
    random("azure-signature", &["sig="], &[Run(BASE64 | PERCENT, 43, 100)]),
    random("aws-signature", &["X-Amz-Signature=", "X-Goog-Signature="], &[Run(ANY_HEX, 40, 600)]),
    token("appwrite-key", &["standard_"], &[Run(HEX, 100, 300)]),
];
