//! Payments, shops, banks.

use super::super::bytes::{ALNUM, ANY_HEX, DASH, DOTTED, HEX, LOWER_DIGIT, URL64};
use super::super::token::Part::{Is, Maybe, Run};
use super::super::token::Token;
use super::{random, token};

pub const TOKENS: [Token; 16] = [
    token(
        "stripe-key",
        &["sk_live_", "sk_test_", "sk_prod_", "rk_live_", "rk_test_", "rk_prod_"],
        &[Run(ALNUM, 10, 255)],
    ),
    token("stripe-webhook-secret", &["whsec_"], &[Run(super::super::bytes::BASE64, 24, 80)]),
    token("square-token", &["sq0atp-", "sq0csp-", "sq0idp-"], &[Run(URL64, 20, 60)]),
    random("square-token", &["EAAAE", "EAAAl"], &[Run(URL64, 58, 64)]),
    token(
        "paypal-token",
        &["access_token$production$", "access_token$sandbox$"],
        &[Run(LOWER_DIGIT, 16, 16), Is("$"), Run(HEX, 32, 32)],
    ),
    token("shopify-token", &["shpat_", "shpca_", "shppa_", "shpss_", "shpua_", "shptka_"], &[Run(ANY_HEX, 32, 32)]),
    random("razorpay-key", &["rzp_live_", "rzp_test_"], &[Run(ALNUM, 14, 24)]),
    token("flutterwave-key", &["FLWSECK_TEST-", "FLWSECK-"], &[Run(ALNUM, 12, 60), Maybe("-", ALNUM, 1)]),
    token("plaid-token", &["access-production-", "access-sandbox-", "access-development-"], &[Run(HEX | DASH, 36, 36)]),
    random("payment-api-key", &["live_", "test_"], &[Run(ALNUM, 30, 60)]),
    token("paddle-api-key", &["pdl_live_apikey_", "pdl_sdbx_apikey_"], &[Run(URL64, 30, 80)]),
    token("polar-token", &["polar_oat_", "polar_pat_"], &[Run(URL64, 30, 80)]),
    token("woocommerce-secret", &["cs_", "ck_"], &[Run(HEX, 40, 40)]),
    token("facebook-token", &["EAA"], &[Run(ALNUM, 80, 400)]),
    token("amazon-seller-token", &["Atzr|", "Atza|"], &[Run(URL64, 40, 2000)]),
    token("coinbase-key", &["cdp_sk_"], &[Run(DOTTED, 20, 200)]),
];
