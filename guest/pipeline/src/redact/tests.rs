//! Each rule finds what it is for, and nothing that only looks like it. The tests generate their secrets, so that the
//! source contains none.

use super::bytes::{self, Set};
use super::token::{Part, Start, Token};
use super::*;
use proptest::prelude::*;

/// Generates the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    /// Characters of the set, without the dot, which may end a sentence.
    fn run(&mut self, set: Set, length: usize) -> String {
        let letters: Vec<u8> = (0..127).filter(|b| bytes::is(*b, set) && *b != b'.' && *b != b'=').collect();
        (0..length).map(|_| char::from(letters[self.next(letters.len())])).collect()
    }
}

/// A token of this kind, with its `head`; `short`: the first run is one character too short.
fn example(token: &Token, head: &str, numbers: &mut Numbers, short: bool) -> String {
    let mut out = match token.start {
        Start::Inside(set, least, _) => numbers.run(set, least) + head,
        _ => head.to_owned(),
    };
    let mut short = short;
    for part in token.tail {
        match *part {
            // Long enough to look random.
            Part::Run(set, least, most) => {
                let length =
                    if std::mem::take(&mut short) { least.saturating_sub(1) } else { least.max(most.min(least + 4)) };
                out += &numbers.run(set, length);
            }
            Part::Is(literal) => out += literal,
            Part::Maybe(..) => {}
        }
    }
    out
}

fn tokens() -> impl Iterator<Item = &'static Token> {
    rules::GROUPS.iter().flat_map(|(_, tokens)| *tokens)
}

fn redacted(text: &str) -> String {
    Redactor::new().redact(text).unwrap_or_else(|| text.to_owned())
}

#[test]
fn each_token_is_found_whatever_stands_around_it() {
    let redactor = Redactor::new();
    let mut numbers = Numbers(1);
    for token in tokens() {
        for head in token.heads {
            let secret = example(token, head, &mut numbers, false);
            let shown = if matches!(token.start, Start::Kept) { &secret[head.len()..] } else { &secret };
            for (before, after) in [
                ("", ""),
                ("a\n", "\nb"),
                ("\\n", "\\n"),
                ("\"", "\""),
                ("\\\"", "\\\","),
                ("(", ") is it"),
                ("use ", ". Then"),
                ("\u{1b}[31m", "\u{1b}[0m"),
                ("é", "é"),
                ("%22", "%22"),
            ] {
                // Anything that can be part of a URL can't be told from it, and a token with a run in front of it
                // absorbs what fits.
                if matches!(token.start, Start::Inside(..) | Start::Kept) && (before.starts_with(['%', '\u{1b}'])) {
                    continue;
                }
                let text = format!("{before}{secret}{after}");
                let out = redactor.redact(&text).unwrap_or_else(|| panic!("{}: not found in {text:?}", token.rule));
                assert!(!out.contains(shown), "{}: {text:?} is {out:?}", token.rule);
                assert!(out.starts_with(before), "{}: {text:?} is {out:?}", token.rule);
            }
        }
    }
}

#[test]
fn a_token_that_is_too_short_or_part_of_a_word_is_none() {
    let mut numbers = Numbers(2);
    for token in tokens().filter(|token| matches!(token.tail[0], Part::Run(_, 8.., _))) {
        let head = token.heads[0];
        let short = example(token, head, &mut numbers, true);
        assert_eq!(token.find(short.as_bytes(), short.find(head).unwrap()), None, "{}: {short}", token.rule);
        if matches!(token.start, Start::Word) {
            let text = format!("word{}", example(token, head, &mut numbers, false));
            assert_eq!(token.find(text.as_bytes(), 4), None, "{}: {text}", token.rule);
        }
    }
}

#[test]
fn names_of_rules_are_words_and_no_rule_is_longer_than_a_mark_can_be() {
    for token in tokens() {
        assert!(
            token.rule.len() < 40
                && token.rule.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
            "{}",
            token.rule
        );
    }
}

/// The part between `«` and `»` must be replaced.
fn check(cases: &[&str]) {
    for case in cases {
        let text = case.replace(['«', '»'], "");
        let out = redacted(&text);
        let secrets: Vec<&str> = case.split('«').skip(1).filter_map(|rest| rest.split('»').next()).collect();
        for secret in &secrets {
            assert!(!out.contains(secret), "{text:?} is {out:?}");
        }
        let kept: Vec<&str> = case.split(['«', '»']).step_by(2).collect();
        let mut rest = out.as_str();
        for part in &kept {
            let Some(at) = rest.find(part) else { panic!("{part:?} is missing: {text:?} is {out:?}") };
            rest = &rest[at + part.len()..];
        }
        assert_eq!(out.matches(MARK).count(), secrets.len(), "{text:?} is {out:?}");
    }
}

/// Values named as secrets, in the forms in which they are written.
const VALUES: [&str; 38] = [
    "DB_PASSWORD=«hunter2»",
    "export API_TOKEN=«f3Kq9ZpL2mXvT7»\nnext",
    "password: «hunter2!»",
    "password = \"«s3cr3t-pass»\"",
    r#"{"password": "«hunter22»", "user": "ann"}"#,
    r#"{\"api_key\": \"«f3Kq9ZpL2mXvT7»\", \"user\": \"ann\"}"#,
    r#"{\\\"client_secret\\\":\\\"«f3Kq9ZpL2mXvT7»\\\"}"#,
    "api-key: '«f3Kq9ZpL2mXvT7»'",
    "config['secret_key'] = '«f3Kq9ZpL2mXvT7»'",
    "secretKey := \"«f3Kq9ZpL2mXvT7»\"",
    "const accessToken: string = \"«f3Kq9ZpL2mXvT7»\";",
    "tool --password «hunter2» --verbose",
    "tool --api-key=«f3Kq9ZpL2mXvT7» x",
    "<password>«hunter2»</password>",
    "<add key=\"Password\" value=\"«hunter22»\"/>",
    r#"{"name": "DB_PASSWORD", "value": "«hunter22»"}"#,
    "- name: DB_PASSWORD\n  value: «hunter22»\n",
    "?user=ann&access_token=«f3Kq9ZpL2mXvT7»&x=1",
    "The password is «hunter22!»",
    "machine example.com login ann password «hunter2»",
    "ALTER ROLE ann PASSWORD '«hunter22»'",
    "Server=db;User Id=ann;Password=«hunter2!»;Encrypt=yes",
    "//registry.example.com/:_authToken=«f3Kq9ZpL2mXvT7»",
    "setenv(\"API_KEY\", \"«f3Kq9ZpL2mXvT7»\")",
    "aws_secret_access_key = «wJa1rXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEK9»",
    "const accSeed = \"«SAANWFZ3JINNPERWT3ALE45U7GYT2ZDW6GJUIVPDKUF6GKAX6AISZJMAS4»\";",
    "CREATE USER ann IDENTIFIED BY '«hunter22»';",
    "ConvertTo-SecureString -String \"«hunter22»\" -AsPlainText",
    "my_service_account_password: \"«Tr0ub4dor&3»\"",
    "'password' => '«mq4admin7»',",
    ":password  =>  \"«mq4admin7»\"",
    "'api_key'=>'«f3Kq9ZpL2mXvT7»', 'user' => 'ann'",
    "oauth_signature: '«tnnArxj06cWHq44gCs1OSKk%2FjLY%3D»', oauth_signature_method: 'HMAC-SHA1'",
    "<machineKey validationKey=\"«32E35872597989D14CC1D5D9F5B1E94238D0EE32CF10AA2D»\" validation=\"SHA1\"/>",
    "environment:\n  - db_password=«mydbpass»\n  - USER=ann",
    "client.SetAuthToken(\"«BC594900518B4F7EAC75BD37F019E08F»\").",
    "new Client().apiKey('«f3Kq9ZpL2mXvT7aaBB12»')",
    "{\"oauth_verifier\": \"«f3Kq9ZpL2mXvT7aa»\"}",
];

#[test]
fn values_that_have_the_name_of_a_secret_are_replaced_in_every_form() {
    check(&VALUES);
}

/// A text as the contents of a JSON string.
fn escaped(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap();
    json[1..json.len() - 1].to_owned()
}

/// The same, but only those that begin with their name.
const NAMED: [&str; 6] = [
    "FOO_KEY=«aB3dE5gH7jK9mN1pQ3sT5vW7xY9z»",
    "pass=«hunter2!»",
    "MY_PASS=«hunter2!»",
    "DB_PASSWORD=«hunter2!»",
    "password: «hunter2!»",
    "token\t=\t«aB3dE5gH7jK9mN1pQ3sT5vW7xY9z»",
];

#[test]
fn what_a_line_break_or_an_escape_stands_before_is_found_decoded_or_not() {
    let redactor = Redactor::new();
    for case in NAMED {
        let secret = case.split(['«', '»']).nth(1).unwrap();
        for before in
            ["", "x\n", "x\r\n", "x\t", "x \u{8}", "x\u{c}", "x \u{1b}[31m", "{\"a\": \"x\\n", "a%0A", "a%0d", "a\\x0A"]
        {
            let text = before.to_owned() + &case.replace(['«', '»'], "");
            assert!(!redacted(&text).contains(secret), "{text:?} is {:?}", redacted(&text));
            let json = escaped(&text);
            let decoded = redactor.holds_secret(&json, || Cow::Borrowed(&text));
            assert!(decoded.is_some(), "{json}");
            // A JSON document within a text: a tool's arguments, a log.
            assert!(!redacted(&json).contains(&escaped(secret)), "{json:?} is {:?}", redacted(&json));
        }
    }
}

#[test]
fn what_only_has_to_do_with_a_secret_stays() {
    check(&[
        "max_tokens=12000 input_tokens: 1234 \"cache_read_input_tokens\": 5678901234",
        "token_type: bearer, next_token: f3Kq9ZpL2mXvT7aa",
        "password=os.environ['DB_PASSWORD']",
        "password: string, token: String, secret: Option<Secret>",
        "token = lexer.next_token()",
        "secret=${SECRET} password=$PASSWORD key={{ api_key }}",
        "const token = await getToken(user2, 17)",
        "`aws-login-secret`, `google-api-key`, `google-oauth-secret`, `voyage-api-key`",
        r#"{"POSTHOG_API_KEY": "phc_q7Zt3Lw9Xe2Rv6Ny4Kb8Hc1Jd5Mf0"}"#,
        "password = user.password2",
        "api_key = settings.API_KEY",
        "password: <your-password>",
        "-w, --no-password   never prompt",
        "tool -PasswordList passlist.txt",
        "Authorization = new AuthenticationHeaderValue(\"Bearer\", _token.AccessToken);",
        "Authorization: Bearer {access_token}",
        "PASSWORD=changeme API_KEY=your_api_key_here TOKEN=xxxxxxxxxxxxxxxx",
        "\"password\": \"Password\", \"token\": \"string\"",
        "Enter your password: ",
        "the secretary's keyboard: a1b2c3d4e5f6a7b8",
        "public_key: f3Kq9ZpL2mXvT7aaBBcc1234",
        "key: f3Kq9ZpL2mXvT7aaBBcc1234",
        "monkey = f3Kq9ZpL2mXvT7aaBBcc1234",
        "compass: n0rthwest5",
        "commit 2f9d1c7e8b6a5f4d3c2b1a0f9e8d7c6b5a4f3e2d",
        "\"uuid\":\"6f1c2a4e-9b3d-4c5f-8a7e-0d1b2c3f4a5e\"",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4",
        "toolu_01A09q90qw90lq917835lq9 msg_01XFDUDYJgAACzvnptvVoYEL",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
        "starts with `-----BEGIN RSA PRIVATE KEY-----` in the first line",
        "https://example.com/a:b@c ssh://git@github.com/o/r.git http://localhost:8080/@x",
        "if f64::NAN == token",
        "Authorization: Bearer <token>",
        "Authorization: Bearer $TOKEN",
        "'password' => 'required|string|min:8|confirmed', \"password\": \"nullable|min:12\"",
        "'password' => 'hashed', 'token' => $this->token",
        "getToken(\"a-name-of-2-things\") secret(\"db-main\") password(\"user2\") setToken(token2)",
        ":password => \"pass\", 'password' => 'your.password'",
        "const check = (password) => password.length >= 12 && compare(password, hash2)",
        "items.map(token => token.value2)",
        "a basic example1: Basic YWJjZGVmZ2hpamtsbW5vcA== Basic dXNlcjpwYXNzd29yZA==",
        "oauth_signature_method=\"HMAC-SHA256\"",
        "task-based-approach-for-the-migration-of-all-2024-files",
        "sk-learn-contrib-package-with-a-long-name-2",
    ]);
}

#[test]
fn urls_headers_commands_and_cookies_lose_what_is_secret_in_them() {
    check(&[
        "postgres://ann:«letmein»@db.example.com:5432/app",
        "redis://:«hunter2»@localhost:6379",
        "mongodb+srv://ann:«p@ss/w0rd»@cluster0.example.net/x",
        "git clone https://«f3Kq9ZpL2mXvT7aaBBcc1234»@example.com/o/r.git",
        "curl -H 'Authorization: Bearer «f3Kq9ZpL2mXvT7aa»' https://example.com",
        "authorization: Basic «dXNlcjpwYXNz»",
        "Authorization: OAuth «oauth_consumer_key=\"xvz1evFS4wEEPTGEFPHBog\", oauth_signature=\"tnnArxj06cWHq44gCs1OSKk%2FjLY%3D\"»",
        "-H 'Authorization: Digest «username=\"ann\", realm=\"x y\", nonce=\"a,b\", response=\"6629fae49393a05397450978507c4ef1\"»' https://example.com",
        "Authorization: AWS4-HMAC-SHA256 «Credential=AKIDEXAMPLE/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7»\nx",
        r#"{"Authorization": "Signature «keyId=\"ann\",signature=\"dGhpcyBpcyBhIHNpZ25hdHVyZQ==\"»", "b": "c"}"#,
        r#"headers={\"Authorization\": \"Hawk «id=\\\"dh37fgj492je\\\", mac=\\\"6R4rV5iE+NPoym+WwjeHzjAGXUtLNIxmo1vpMofpLAE=\\\"»\"}"#,
        "f(\"Basic «am9lOm1xNGFkbWluNw==»\")",
        "connect.sid=«s%3AwmQ0Lx3Zt7Kq9ZpL2mXvT7aaBB12ccDD.R3v6Ny4Kb8Hc1Jd5Mf0q7Zt3Lw9Xe2Rv6Ny4Kb8Hc1J%2FdM»; Path=/",
        "CREATE USER ann IDENTIFIED WITH mysql_native_password BY '«hunter22»';",
        "Authorization: token «f3Kq9ZpL2mXvT7aa»",
        r#"headers={\"Authorization\": \"Bearer «f3Kq9ZpL2mXvT7aa»\"}"#,
        "used Bearer «f3Kq9ZpL2mXvT7aaBB12» for it",
        "Cookie: «session=f3Kq9ZpL2mXvT7aa; theme=dark»\nHost: x",
        "curl -u ann:«hunter2» https://example.com",
        "mysql -u root -p«Secret123» app",
        "sshpass -p «hunter2» ssh ann@example.com",
        "openssl req -passin pass:«foobar» -subj /CN=x -key key.pem",
        "openssl genrsa -aes256 -passout pass:«foobar» -out key.pem",
    ]);
}

fn pem(label: &str, join: &str, numbers: &mut Numbers) -> (String, String) {
    let lines: Vec<_> = (0..4).map(|_| numbers.run(bytes::ALNUM, 64)).collect();
    (
        ["-----", "BEGIN ", label, "-----", join, &lines.join(join), join, "-----", "END ", label, "-----"].concat(),
        lines.concat(),
    )
}

#[test]
fn a_private_key_is_replaced_however_its_lines_are_written() {
    let mut numbers = Numbers(3);
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY", "PGP PRIVATE KEY BLOCK"] {
        for join in [
            "\n",
            "\r\n",
            "\\n",
            "\\\\n",
            "\n    ",
            "\n> ",
            "\n# ",
            "\" +\n \"",
            "\\n\" \\\n\"",
            "\n     2→",
            "\n+",
            "\n-",
        ] {
            let (key, body) = pem(label, join, &mut numbers);
            let out = redacted(&format!("before {key} after"));
            assert_eq!(out, "before [redacted:private-key] after", "{key}");
            // Cut anywhere: once there is more than the first bytes, which tell the kind of key, nothing is left.
            let begins = key.find(&body[..30]).unwrap() + 30;
            for end in (begins..key.len()).filter(|end| key.is_char_boundary(*end)).step_by(7) {
                let out = redacted(&key[..end]);
                assert!(!out.contains(&body[..16]), "{out}");
            }
        }
    }
}

#[test]
fn a_secret_is_replaced_wherever_else_it_stands_in_its_text() {
    check(&["password = \"«f3Kq9-ZpL2»\"; connect('ann', '«f3Kq9-ZpL2»')"]);
}

#[test]
fn the_value_of_a_name_is_called_after_the_token_that_it_is() {
    let mut numbers = Numbers(4);
    let secret = ["gh", "p_", &numbers.run(bytes::ALNUM, 36)].concat();
    for text in [
        format!("GITHUB_TOKEN={secret}"),
        format!("Authorization: Bearer {secret}"),
        format!("https://x:{secret}@example.com/a"),
    ] {
        assert!(redacted(&text).contains("[redacted:github-token]"), "{text}: {}", redacted(&text));
    }
}

#[test]
fn what_was_replaced_is_counted_by_rule() {
    let redactor = Redactor::new();
    redactor.redact("DB_PASSWORD=hunter2\npostgres://a:letmein@h/x");
    assert_eq!(redactor.take_counts(), Counts::from([("password".into(), 1), ("url-password".into(), 1)]));
    assert!(redactor.take_counts().is_empty());
}

/// Found by a fuzzer: heads are compared without their case, and so is what is no letter.
#[test]
fn a_control_character_is_no_part_of_a_url() {
    let redactor = Redactor::new();
    for other in (0..=u8::MAX).filter(|byte| *byte != b':').map(char::from) {
        let text = format!("https{other}//me:h7Kq2xW9vL4p@example.com/x");
        let json = serde_json::to_string(&text).unwrap();
        assert!(redactor.redact(&text).is_none() || redactor.may_hold_secret(&json[1..json.len() - 1]), "{text:?}");
    }
    assert_eq!(redactor.redact("https\u{1a}//me:h7Kq2xW9vL4p@example.com/x"), None);
}

/// Found by a fuzzer: each pass took the rule's name in the mark before it for the name of the next value.
#[test]
fn a_mark_names_no_value() {
    check(&["PASSWORD=\"«cjoigh-f2» :ena28394iOiJ :zen28394iOiJ :ben28394iOiJ :den28394iOiJ :fen28394iOiJ"]);
    assert_eq!(Redactor::new().redact("[redacted:password] : h7Kq2xW9vL4p, [redacted:token]=f3Kq9ZpL2mXvT7aa"), None);
}

#[test]
fn json_stays_json() {
    let redactor = Redactor::new();
    let json =
        r#"{"api_key":"f3Kq9ZpL2mXvT7","list":["-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC","b"]}"#;
    let clean = redactor.redact_json(json).unwrap();
    let value: Value = serde_json::from_str(&clean).unwrap();
    assert_eq!(value["api_key"], "[redacted:api-key]");
    assert!(!clean.contains("MIIEvQ"));
    assert_eq!(redactor.redact_json(r#"{"a":"b"}"#), None);
}

/// Texts in which rules meet: pieces of keywords, of values, and of what joins them.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(
            tokens().flat_map(|token| token.heads.iter().map(|head| (*head).to_owned())).collect::<Vec<_>>()
        ),
        prop::sample::select(vec![
            "password",
            "PASS",
            "token",
            "api_key",
            "secret",
            "_auth",
            "key",
            "Bearer ",
            "Authorization: ",
            "Authorization: Digest a=\"",
            "\", b=\\\"",
            ", c=",
            "Basic ",
            "am9lOm1xNGFkbWluNw==",
            "oauth_signature",
            "=>",
            "Cookie: a=",
            "curl -u ",
            "://",
            "@",
            ":",
            "=",
            " = ",
            "\"",
            "'",
            "\\\"",
            "\\n",
            "\n",
            "\t",
            "\u{1b}[31m",
            "FOO_",
            "KEY",
            " ",
            "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----",
            "[redacted:",
            "[redacted:password]",
            "]",
            "é",
            "value",
            ",",
            "<",
            ">",
            "--",
            "is ",
            "login ",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9]{1,40}",
        "[a-f0-9]{8,64}",
        "[ -~]{0,12}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Found by a fuzzer: if text is escaped as JSON, checking the JSON must find as much as checking the text.
#[test]
fn a_look_at_json_sees_a_secret_beside_whatever_is_escaped() {
    let redactor = Redactor::new();
    let controls = (0..=0x20u8).chain([0x7f, b'"', b'\\', b'\'']).map(|byte| char::from(byte).to_string());
    let runs = (1..40).flat_map(|n| ["\\".repeat(n), format!("{}n", "\\".repeat(n)), format!("{}\"", "\\".repeat(n))]);
    let between: Vec<String> =
        controls.chain(runs).chain([",\\n".into(), "\u{1}".repeat(70), "\t".repeat(70)]).collect();
    let mut found = 0;
    for form in [
        "|password|=|h7Kq2xW9vL4p|",
        "|pass|=|h7Kq2xW9vL4p|",
        "DB_PASSWORD|:|h7Kq2xW9vL4p",
        "|api_key|=>|h7Kq2xW9vL4pT8mZ",
        "|--token| |h7Kq2xW9vL4pT8mZ",
        "name: DB_PASSWORD,|value|: h7Kq2xW9vL4p",
        "\"name\": \"DB_PASSWORD\"|\"value\"|:|\"h7Kq2xW9vL4p\"",
        "machine x|login me|password h7Kq2xW9vL4p",
        "the password |is |h7Kq2xW9vL4p",
        "postgres://me:h7Kq2xW9vL4p|x@db/x",
        "|Authorization|:|Bearer h7Kq2xW9vL4pT8mZ",
        "|ghp_0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R|",
        "-----BEGIN |PRIVATE KEY-----|MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7",
    ] {
        for between in &between {
            let text = form.replace('|', between);
            let json = serde_json::to_string(&text).unwrap();
            if redactor.redact(&text).is_some() {
                found += 1;
                assert!(redactor.may_hold_secret(&json[1..json.len() - 1]), "{text:?}");
            }
        }
    }
    assert!(found > 200, "{found}");
    // As in a tab-separated file, and in a log with JSON in JSON.
    for text in ["password\t=\th7Kq2xW9vL4p", r#"{\"password\":\t\"h7Kq2xW9vL4p\"}"#, r"x\nDB_PASS\t=\th7Kq2xW9vL4p"] {
        assert!(redactor.redact(text).is_some_and(|clean| !clean.contains("h7Kq2xW9vL4p")), "{text}");
    }
}

proptest! {
    #[test]
    fn redacting_twice_is_redacting_once(text in pieces()) {
        let redactor = Redactor::new();
        if let Some(once) = redactor.redact(&text) {
            prop_assert_eq!(redactor.redact(&once), None, "{}", once);
        }
    }

    #[test]
    fn what_was_found_is_nowhere_in_what_comes_out(text in pieces()) {
        let redactor = Redactor::new();
        let found = redactor.find(&text);
        let out = redactor.redact(&text).unwrap_or_else(|| text.clone());
        // A mark names its rule, and a value can be a part of that name.
        let out = redactor.take_counts().keys().fold(out, |out, rule| out.replace(&format!("{MARK}{rule}]"), "\u{e000}"));
        for secret in found.iter().take(MOST_EVERYWHERE) {
            let value = &text[secret.start..secret.end];
            prop_assert!(value.len() < LEAST_EVERYWHERE || value.len() > 512 || !out.contains(value), "{value}: {out}");
        }
    }

    #[test]
    fn where_a_look_at_json_finds_nothing_there_is_nothing(text in pieces()) {
        let redactor = Redactor::new();
        let json = serde_json::to_string(&text).unwrap();
        if redactor.redact(&text).is_some() {
            prop_assert!(redactor.may_hold_secret(&json[1..json.len() - 1]), "{text}");
            prop_assert!(redactor.holds_secret(&json[1..json.len() - 1], || Cow::Borrowed(&text)).is_some(), "{text}");
        }
    }

    #[test]
    fn of_a_text_that_is_cut_nothing_of_a_secret_is_kept(
        token in prop::sample::select(tokens().collect::<Vec<_>>()), seed in any::<u64>(), before in 0usize..600, kept in 0usize..900,
    ) {
        let secret = example(token, token.heads[0], &mut Numbers(seed), false);
        let text = format!("{} {secret} {}", "a ".repeat(before / 2), "b ".repeat(400));
        let kept = kept.min(text.len());
        let out = Redactor::new().redact_within(&text, kept).unwrap_or_else(|| text[..kept].to_owned());
        let shown = if matches!(token.start, Start::Kept) { &secret[token.heads[0].len()..] } else { &secret };
        let begins = if let Start::Inside(..) = token.start { &shown[..8] } else { &secret[token.heads[0].len()..][..8] };
        prop_assert!(!out.contains(begins), "{} {out}", token.rule);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test measures time")]
fn every_text_takes_a_time_that_depends_on_its_length_alone() {
    let redactor = Redactor::new();
    let patterns = [
        "token=",
        "eyJa.",
        "password=\"",
        "api_key:",
        "://a:",
        "-----BEGIN PRIVATE KEY-----\n",
        "curl -u",
        "curl ",
        "Bearer ",
        "Cookie: a=",
        "authorization: a",
        "authorization: a b=\"c",
        "authorization: a b=\\\"c',",
        "authorization: a b=c, ",
        "basic YTpi",
        "oauth_signature=",
        "sk-a.",
        "sk-",
        "key ",
        "xoxb-",
        "LS0tLS1CRUdJTi",
        "AKIA",
        "password",
        "\\",
        "\"",
        "[redacted:",
        "secret='\\",
        "-us1",
        "+ASt",
        "<password>",
        "a:b@",
        "name: token, value",
        "login password ",
        "ghs_.",
        "=",
        "Q~1Q~",
    ];
    let work = |text: &str| {
        let begun = bytes::looked_at();
        redactor.redact(text);
        redactor.may_hold_secret(text);
        bytes::looked_at() - begun
    };
    let (small, factor) = (4_000, 16);
    let begun = std::time::Instant::now();
    for pattern in patterns {
        let text = pattern.repeat(small * factor / pattern.len());
        let piece = &text[..text.floor_char_boundary(small)];
        let (of_piece, of_all) = (work(piece) + 1000, work(&text));
        // If the work were quadratic, it would be 256 times as much.
        assert!(of_all < of_piece * 40, "{pattern:?}: {of_piece} bytes, and {of_all} for {factor} times as much");
    }
    // Work that is not counted is fast too: two megabytes, without optimization, on a busy machine.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}
