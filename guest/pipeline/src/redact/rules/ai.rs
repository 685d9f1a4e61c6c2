//! Models and the services that run them.

use super::super::bytes::{ALNUM, DASH, HEX, LETTER, URL64};
use super::super::token::Part::{Is, Run};
use super::super::token::{LONG, Token};
use super::{random, token};

pub const TOKENS: [Token; 32] = [
    token("anthropic-api-key", &["sk-ant-"], &[Run(URL64, 20, LONG)]),
    token("openai-api-key", &["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-"], &[Run(URL64, 20, LONG)]),
    token("openrouter-api-key", &["sk-or-v1-", "sk-or-"], &[Run(URL64, 30, 100)]),
    token("langfuse-secret-key", &["sk-lf-"], &[Run(HEX | DASH, 36, 36)]),
    // OpenAI's first tokens, and those of everyone who adopted their form.
    random("openai-api-key", &["sk-"], &[Run(URL64, 24, 200)]),
    random("secret-key", &["sk_"], &[Run(URL64, 24, 200)]),
    token("huggingface-token", &["hf_"], &[Run(ALNUM, 30, 60)]),
    token("huggingface-token", &["api_org_"], &[Run(LETTER, 34, 34)]),
    token("replicate-token", &["r8_"], &[Run(URL64, 30, 50)]),
    token("groq-api-key", &["gsk_"], &[Run(ALNUM, 40, 60)]),
    token("xai-api-key", &["xai-"], &[Run(ALNUM, 60, 100)]),
    token("perplexity-api-key", &["pplx-"], &[Run(ALNUM, 32, 80)]),
    random("fireworks-api-key", &["fw_"], &[Run(ALNUM, 22, 40)]),
    token("together-api-key", &["tgp_v1_"], &[Run(URL64, 30, 60)]),
    token("nvidia-api-key", &["nvapi-"], &[Run(URL64, 50, 100)]),
    random("cerebras-api-key", &["csk-"], &[Run(ALNUM, 32, 60)]),
    token("pinecone-api-key", &["pcsk_"], &[Run(URL64, 40, 100)]),
    random("jina-api-key", &["jina_"], &[Run(URL64, 40, 80)]),
    random("tavily-api-key", &["tvly-"], &[Run(URL64, 24, 80)]),
    token("firecrawl-api-key", &["fc-"], &[Run(HEX, 32, 32)]),
    token("langsmith-api-key", &["lsv2_pt_", "lsv2_sk_"], &[Run(HEX, 30, 40), Is("_"), Run(HEX, 8, 12)]),
    token("langsmith-api-key", &["ls__"], &[Run(HEX, 32, 32)]),
    token("wandb-api-key", &["wandb_v1_"], &[Run(URL64, 40, 120)]),
    token("e2b-api-key", &["e2b_"], &[Run(HEX, 40, 40)]),
    random("runpod-api-key", &["rpa_"], &[Run(ALNUM, 36, 60)]),
    token("llamacloud-api-key", &["llx-"], &[Run(ALNUM, 40, 60)]),
    random("brave-api-key", &["BSA"], &[Run(URL64, 24, 32)]),
    token("apify-token", &["apify_api_"], &[Run(ALNUM, 30, 50)]),
    token("cursor-api-key", &["crsr_", "key_"], &[Run(HEX, 64, 64)]),
    random("voyage-api-key", &["pa-"], &[Run(URL64, 43, 43)]),
    random("modal-token", &["ak-", "as-"], &[Run(ALNUM, 22, 22)]),
    random("scrapegraph-api-key", &["sgai-"], &[Run(URL64, 24, 60)]),
];
