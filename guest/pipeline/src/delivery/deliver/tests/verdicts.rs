//! One test for each result that the newest lane can give an event.

use super::*;

fn result(result: &str, details: &str) -> Value {
    json!({"result": result, "details": details})
}

/// The `uuid` of the n-th response of [`transcript`].
fn id(n: usize) -> String {
    EventId::generation(&message_id(n)).to_string()
}

fn rejected(reports: &Reports) -> Vec<(String, u16, String)> {
    let rejected = reports.iter().flatten().flat_map(|report| &report.rejected);
    rejected.map(|r| (r.id.to_string(), r.status, r.message.clone())).collect()
}

/// The IDs in each request.
fn sent<F>(server: &Server<F>) -> Vec<Vec<String>> {
    server.requests.iter().map(|(_, body)| ids(&decode(body))).collect()
}

/// Checks that nothing is accepted twice.
fn all_once(reports: &Reports, events: usize) {
    let mut accepted = accepted(reports);
    accepted.sort_unstable();
    accepted.dedup();
    assert_eq!(accepted.len(), events);
    assert_eq!(super::accepted(reports).len(), events);
}

#[test]
fn a_warning_is_accepted_and_told() {
    let (reports, server) = deliver(transcript(3, 10), |_, _, body| {
        Ok(results(body, |event| {
            if event == id(1) { result("warning", "person_processing_disabled") } else { result("ok", "") }
        }))
    });
    all_once(&reports, 4);
    assert_eq!(server.requests.len(), 1);
    let warned = &reports[0].as_ref().unwrap().warned;
    assert_eq!(warned.len(), 1);
    assert_eq!((warned[0].0.to_string(), warned[0].1.as_str()), (id(1), "person_processing_disabled"));
}

#[test]
fn only_what_was_not_kept_is_sent_again_as_a_body_of_its_own() {
    let (reports, server) = deliver(transcript(9, 10), |n, _, body| {
        let mut answer = results(body, |event| {
            if n == 1 && [id(2), id(5)].contains(&event.to_owned()) {
                result("retry", "not_persisted")
            } else {
                result("ok", "")
            }
        });
        answer.retry_after = (n == 1).then_some(1);
        Ok(answer)
    });
    all_once(&reports, 10);
    assert_eq!(sent(&server)[1], [id(2), id(5)]);
    assert_ne!(server.heads[0].0, server.heads[1].0);
    assert_eq!((server.heads[0].1, server.heads[1].1), (1, 1));
    assert_eq!(server.waits, [Duration::from_secs(1)]);
    // Outcomes are reported before the rest is sent.
    assert_eq!(reports[0].as_ref().unwrap().accepted.len(), 8);
    assert!(!reports[0].as_ref().unwrap().last);
    assert!(reports[1].as_ref().unwrap().last);
}

#[test]
fn a_resent_event_has_the_same_bytes() {
    let (_, server) = deliver(transcript(3, 10), |n, _, body| {
        Ok(results(
            body,
            |event| if n < 3 && event == id(1) { result("retry", "not_persisted") } else { result("ok", "") },
        ))
    });
    let of = |request: usize| {
        let body = decode(&server.requests[request].1);
        body["batch"].as_array().unwrap().iter().find(|event| event["uuid"] == id(1).as_str()).unwrap().clone()
    };
    assert_eq!(of(0), of(1));
    assert_eq!(of(0), of(2));
}

#[test]
fn an_event_that_the_answer_does_not_name_is_not_delivered() {
    let (reports, server) = deliver(transcript(4, 10), |n, _, body| {
        let mut answer = results(body, |_| result("ok", ""));
        if n == 1 {
            let mut said: Value = serde_json::from_slice(&answer.body).unwrap();
            said["results"].as_object_mut().unwrap().remove(&id(2));
            said["results"]["00000000-0000-0000-0000-000000000000"] = result("ok", "");
            answer.body = said.to_string().into_bytes();
        }
        Ok(answer)
    });
    all_once(&reports, 5);
    assert_eq!(sent(&server)[1], [id(2)]);
}

#[test]
fn an_event_that_is_never_kept_ends_the_delivery_after_all_retries() {
    let (reports, server) = deliver(transcript(2, 10), |_, _, body| {
        Ok(results(body, |event| if event == id(0) { result("retry", "not_persisted") } else { result("ok", "") }))
    });
    assert_eq!(reports[0].as_ref().unwrap().accepted.len(), 2);
    assert!(matches!(&reports[1], Err(DeliveryError::Unavailable(200, None, why)) if why == "not_persisted"));
    // Four for the first call, and four for the one after the error.
    assert_eq!(server.requests.len(), 8);
    assert_eq!(server.waits.iter().map(Duration::as_millis).take(3).collect::<Vec<_>>(), [250, 500, 1000]);
}

#[test]
fn over_the_byte_budget_it_slows_down_and_comes_back() {
    let (reports, server) = deliver(transcript(150, 10), |n, _, body| {
        let limited = n <= 2;
        Ok(results(body, |event| {
            if limited && event == id(3) { result("drop", "ai_byte_rate_limited") } else { result("ok", "") }
        }))
    });
    all_once(&reports, 151);
    assert!(rejected(&reports).is_empty());
    assert_eq!(sent(&server)[1], [id(3)]);
    assert_eq!(sent(&server)[2], [id(3)]);
    // The next batch waits too: the budget is the project's, not the event's.
    assert_eq!(server.requests.len(), 4);
    assert_eq!(server.waits.len(), 3);
    assert!(server.waits.iter().all(|wait| *wait >= Duration::from_millis(200)), "{:?}", server.waits);
}

#[test]
fn a_byte_budget_that_stays_used_up_is_an_error_of_its_own() {
    let (reports, _) =
        deliver(transcript(1, 10), |_, _, body| Ok(results(body, |_| result("drop", "ai_byte_rate_limited"))));
    assert!(matches!(&reports[0], Err(DeliveryError::RateLimited(why)) if why == "ai_byte_rate_limited"));
    assert!(rejected(&reports).is_empty());
}

#[test]
fn a_too_big_event_is_shortened_once_and_the_others_are_not_sent_again() {
    for detail in ["ai_event_too_big", "event_too_big"] {
        let (reports, server) = deliver(transcript(3, 400_000), |_, _, body| {
            let sizes: std::collections::HashMap<_, _> = body["batch"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| (event["uuid"].as_str().unwrap().to_owned(), event.to_string().len()))
                .collect();
            Ok(results(body, |event| {
                if event == id(1) && sizes[event] > 300_000 { result("drop", detail) } else { result("ok", "") }
            }))
        });
        all_once(&reports, 4);
        assert_eq!(sent(&server)[1], [id(1)]);
        assert_eq!(reports.iter().flatten().map(|report| report.shortened).sum::<u32>(), 1);
    }
}

#[test]
fn an_event_that_is_too_big_even_shortened_is_put_aside() {
    let (reports, server) = deliver(transcript(2, 400_000), |_, _, body| {
        Ok(results(body, |event| if event == id(1) { result("drop", "ai_event_too_big") } else { result("ok", "") }))
    });
    all_once(&reports, 2);
    assert_eq!(server.requests.len(), 2);
    assert_eq!(rejected(&reports), [(id(1), 200, "ai_event_too_big".to_owned())]);
}

#[test]
fn the_billing_limit_stops_everything_and_loses_nothing() {
    let (reports, server) = deliver(transcript(150, 10), |_, _, body| {
        Ok(results(
            body,
            |event| if event == id(7) { result("drop", "billing_limit_exceeded") } else { result("ok", "") },
        ))
    });
    assert_eq!(reports[0].as_ref().unwrap().accepted.len(), 99);
    assert!(matches!(&reports[1], Err(DeliveryError::BillingLimit(why)) if why == "billing_limit_exceeded"));
    assert!(rejected(&reports).is_empty());
    // The call after the error tries that event again; nothing else was sent in the meantime.
    assert_eq!(sent(&server)[1], [id(7)]);
}

#[test]
fn a_billing_limit_of_the_whole_request_stops_without_a_retry() {
    for status in [402, 429] {
        let said = br#"{"error":"billing_limit_exceeded","error_description":"billing limit exceeded"}"#;
        let (reports, server) =
            deliver(transcript(1, 10), |_, _, _| Ok(Answer { status, body: said.to_vec(), retry_after: Some(1) }));
        assert!(matches!(&reports[0], Err(DeliveryError::BillingLimit(_))), "{status}");
        assert_eq!(server.requests.len(), 2, "one request for each of the two calls");
    }
}

#[test]
fn other_drops_and_unknown_results_are_final_with_the_servers_word() {
    for (said, word) in [
        (result("drop", "event_restriction_drop"), "event_restriction_drop"),
        (result("drop", "misrouted_event"), "misrouted_event"),
        (result("drop", "invalid_options"), "invalid_options"),
        (result("drop", "rejected"), "rejected"),
        (result("drop", "serialization_failed"), "serialization_failed"),
        (json!({"result": "drop"}), "drop"),
        (json!({"result": "limited"}), "limited"),
        (result("postponed", "ask in a year"), "ask in a year"),
    ] {
        let (reports, server) = deliver(transcript(2, 10), |_, _, body| {
            Ok(results(body, |event| if event == id(1) { said.clone() } else { result("ok", "") }))
        });
        all_once(&reports, 2);
        assert_eq!(server.requests.len(), 1);
        assert_eq!(rejected(&reports), [(id(1), 200, word.to_owned())]);
    }
}

#[test]
fn every_fate_in_one_batch_goes_its_own_way() {
    let details = ["not_persisted", "ai_byte_rate_limited", "ai_event_too_big", "misrouted_event"];
    let (reports, _) = deliver(transcript(40, 1000), |n, _, body| {
        Ok(results(body, |event| {
            let number = (0..40).find(|n| id(*n) == event).unwrap_or(5);
            match number % 5 {
                0 if n == 1 => result("retry", details[0]),
                1 if n == 1 => result("drop", details[1]),
                2 if n == 1 => result("drop", details[2]),
                3 => result("drop", details[3]),
                _ => result("ok", ""),
            }
        }))
    });
    all_once(&reports, 41 - 8);
    assert_eq!(rejected(&reports).len(), 8);
    assert!(reports.iter().all(Result::is_ok));
    assert_eq!(reports.iter().flatten().filter(|report| report.last).count(), 1);
}

#[test]
fn attempts_of_one_body_share_an_id_count_up_and_have_times_of_their_own() {
    let (reports, server) = deliver(transcript(1, 10), |n, _, _| Ok(if n < 4 { status(503) } else { ok() }));
    assert_eq!(accepted(&reports).len(), 2);
    assert!(server.heads.iter().all(|(id, ..)| *id == server.heads[0].0));
    assert_eq!(server.heads.iter().map(|(_, attempt, _)| *attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(server.heads.is_sorted_by(|(_, _, a), (_, _, b)| a < b));
    assert!(server.requests.iter().all(|request| *request == server.requests[0]));
}

#[test]
fn the_call_after_an_error_goes_on_with_the_same_body() {
    let (_, server) = deliver(transcript(1, 10), |_, _, _| Ok(status(503)));
    assert_eq!(server.heads.len(), 8);
    assert_eq!(server.heads[7].1, 8);
    assert_eq!(server.heads[7].0, server.heads[0].0);
}

#[test]
fn different_bodies_have_different_ids() {
    let (_, server) = deliver(transcript(250, 10), |_, _, _| Ok(ok()));
    let ids: std::collections::HashSet<_> = server.heads.iter().map(|(id, ..)| id).collect();
    assert_eq!(ids.len(), 3);
    assert!(server.heads.iter().all(|(id, ..)| id.get_version_num() == 4));
}

#[test]
fn a_remembered_lane_is_used_without_asking_for_another() {
    let server = Server::new(|_: usize, path: &str, _: &Value| Ok(if path == "/batch/" { ok() } else { status(500) }));
    let access = Access { lane: Lane::Batch, ..access() };
    let retries = Retries { most: 0, first_delay: Duration::ZERO };
    let options = ConversionOptions::default();
    let mut delivery =
        Delivery::start("s", &[FileRole::Main], options, transcript(1, 10), server, access, retries).unwrap();
    assert_eq!(delivery.next_batch().unwrap().unwrap().lane, Lane::Batch);
    assert_eq!(delivery.transport.requests.len(), 1);
}

#[test]
fn a_remembered_lane_that_is_gone_is_looked_for_again() {
    let server = Server::new(|_: usize, path: &str, _: &Value| Ok(if path == "/batch/" { status(404) } else { ok() }));
    let access = Access { lane: Lane::Batch, ..access() };
    let retries = Retries { most: 0, first_delay: Duration::ZERO };
    let options = ConversionOptions::default();
    let mut delivery =
        Delivery::start("s", &[FileRole::Main], options, transcript(1, 10), server, access, retries).unwrap();
    assert_eq!(delivery.next_batch().unwrap().unwrap().lane, Lane::Events);
}

#[test]
fn a_server_with_no_lane_at_all_refuses() {
    let (reports, server) = deliver(transcript(1, 10), |_, _, _| Ok(status(404)));
    assert!(matches!(&reports[0], Err(DeliveryError::Refused(404, _))));
    assert_eq!(server.requests.len(), 6);
}

#[test]
fn a_sink_that_treats_a_random_third_badly_ends_with_each_event_accepted_or_put_aside() {
    let details = [
        ("retry", "not_persisted"),
        ("drop", "ai_byte_rate_limited"),
        ("drop", "ai_event_too_big"),
        ("drop", "event_restriction_drop"),
        ("drop", "invalid_options"),
        ("limited", ""),
    ];
    for seed in 1..40_u64 {
        let state = std::cell::Cell::new(seed);
        let chance = || {
            state.set(state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
            state.get() >> 33
        };
        let (reports, _) = deliver(transcript(230, 50), |_, _, body| {
            Ok(results(body, |_| {
                let (said, why) = details[(chance() % 6) as usize];
                if chance() % 3 == 0 { result(said, why) } else { result("ok", "") }
            }))
        });
        let mut ended: Vec<_> = accepted(&reports).iter().map(ToString::to_string).collect();
        ended.extend(rejected(&reports).into_iter().map(|(id, ..)| id));
        assert_eq!(ended.len(), 231, "{seed}");
        ended.sort_unstable();
        ended.dedup();
        assert_eq!(ended.len(), 231, "{seed}");
        assert_eq!(reports.iter().flatten().filter(|report| report.last).count(), 1, "{seed}");
    }
}
