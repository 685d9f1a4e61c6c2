//! Source code hosts, package registries, builds.

use super::super::bytes::{ALNUM, BASE64, DASH, DOTTED, HEX, LOWER_DIGIT, UPPER_DIGIT, URL64, WORD};
use super::super::token::Part::{Is, Maybe, Run};
use super::super::token::{LONG, Token};
use super::{random, token};

pub const TOKENS: [Token; 31] = [
    token("github-token", &["ghp_", "gho_", "ghu_", "ghr_"], &[Run(ALNUM, 30, LONG)]),
    token("github-token", &["ghs_"], &[Run(DOTTED, 30, LONG)]),
    token("github-fine-grained-token", &["github_pat_"], &[Run(WORD, 40, 255)]),
    token(
        "gitlab-token",
        &[
            "glpat-", "gldt-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "glsoat-",
            "glffct-", "gloas-", "glwt-",
        ],
        &[Run(DOTTED, 18, LONG)],
    ),
    token("gitlab-runner-token", &["GR1348941"], &[Run(URL64, 20, 30)]),
    token("atlassian-token", &["ATATT3", "ATCTT3", "ATSTT3", "ATLTT3"], &[Run(BASE64 | URL64, 50, LONG)]),
    random("bitbucket-app-password", &["ATBB"], &[Run(ALNUM, 28, 40)]),
    token("sourcegraph-token", &["sgp_"], &[Run(WORD, 40, 80)]),
    token("sourcegraph-token", &["slk_", "sgd_"], &[Run(HEX, 64, 64)]),
    token("npm-token", &["npm_"], &[Run(ALNUM, 36, 60)]),
    token("pypi-token", &["pypi-AgE"], &[Run(URL64, 50, LONG)]),
    token("rubygems-key", &["rubygems_"], &[Run(HEX, 48, 48)]),
    random("nuget-api-key", &["oy2"], &[Run(LOWER_DIGIT, 43, 43)]),
    token("clojars-token", &["CLOJARS_"], &[Run(LOWER_DIGIT, 60, 60)]),
    token("packagist-token", &["packagist_ort_", "packagist_ack_", "packagist_uut_"], &[Run(HEX, 60, 90)]),
    token("artifactory-token", &["AKCp"], &[Run(ALNUM, 10, 100)]),
    token("artifactory-token", &["cmVmdGtu"], &[Run(ALNUM, 50, 70)]),
    token("deno-token", &["ddp_", "ddo_", "ddw_"], &[Run(ALNUM, 30, 60)]),
    token("postman-api-key", &["PMAK-"], &[Run(HEX, 24, 24), Is("-"), Run(HEX, 34, 34)]),
    token("readme-api-key", &["rdme_"], &[Run(LOWER_DIGIT, 60, 80)]),
    token("circleci-token", &["CCIPAT_", "CCIPRJ_"], &[Run(WORD, 40, 120)]),
    token("buildkite-token", &["bkua_", "bkct_", "bkat_", "bkpt_"], &[Run(ALNUM, 36, 80)]),
    token("sonar-token", &["squ_", "sqp_", "sqa_"], &[Run(HEX, 40, 40)]),
    token("snyk-token", &["snyk_uat.", "snyk_sat."], &[Run(DOTTED, 20, 200)]),
    token("harness-token", &["pat."], &[Run(URL64, 22, 22), Is("."), Run(HEX, 24, 24), Is("."), Run(ALNUM, 20, 20)]),
    random("octopus-api-key", &["API-"], &[Run(UPPER_DIGIT, 25, 40)]),
    token("prefect-token", &["pnu_", "pnb_"], &[Run(ALNUM, 36, 36)]),
    token("scalr-token", &["at-eyJ"], &[Run(DOTTED, 60, LONG)]),
    token("spectral-token", &["spu-", "spk-"], &[Run(HEX | DASH, 32, 40)]),
    token("ory-token", &["ory_pat_", "ory_at_", "ory_rt_", "ory_st_", "ory_ac_"], &[Run(DOTTED, 20, 200)]),
    token("json-web-token", &["eyJ"], &[Run(URL64, 17, LONG), Maybe(".", DOTTED, 1)]),
];
