use super::render::ResponseForm;
use super::*;
use actix_web::body::MessageBody;
use serde_json::json;

fn body(refusal: &Refusal, accept: Option<&str>) -> String {
    let bytes = refusal.response(accept).into_body().try_into_bytes().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn every_refusal_is_json_with_a_status_above_400_and_a_code() {
    for refusal in Refusal::one_of_each() {
        let answer = refusal.response(Some("*/*"));
        // No library of the original, which treats 400 as a success, sends malformed HTTP.
        let is_malformed = matches!(refusal, Refusal::Malformed(_));
        assert!(answer.status().as_u16() > 400 || is_malformed, "{refusal}");
        assert_eq!(answer.headers().get("content-type").unwrap(), "application/json");
        assert_eq!(answer.headers().get(CODE_HEADER).unwrap(), refusal.code());
        serde_json::from_str::<Value>(&body(&refusal, None)).unwrap();
    }
}

#[test]
fn codes_are_unique() {
    let all = Refusal::one_of_each();
    let codes: std::collections::BTreeSet<_> = all.iter().map(Refusal::code).collect();
    assert_eq!(codes.len(), all.len());
}

#[test]
fn bodies_are_those_of_the_original() {
    let denied: Value =
        serde_json::from_str(&body(&Refusal::SignatureMissing, Some("application/json"))).unwrap();
    let text = "Access was denied to this resource.\n\n\n\n\n";
    assert_eq!(denied, json!({"message": text, "code": "403 Forbidden", "title": "Forbidden"}));
    assert_eq!(body(&Refusal::SignatureMissing, Some("text/plain")), format!("403 Forbidden\n\n{text}"));
    let missing: Value = serde_json::from_str(&body(&Refusal::NotFound("/nowhere".into()), None)).unwrap();
    assert_eq!(missing["message"], "The resource could not be found.\n\n\n/nowhere\n\n");
    assert_eq!(body(&Refusal::BadSignature, Some("text/html")), r#"{"request":"Bad Signature"}"#);
}

#[test]
fn a_long_path_is_truncated() {
    let named =
        |length: usize| body(&Refusal::NotFound("ž".repeat(length)), Some("text/plain")).matches('ž').count();
    assert_eq!([named(999), named(1_000), named(30_000)], [999, 1_000, 1_000]);
}

#[test]
fn html_is_sent_only_if_accepted_and_is_escaped() {
    let page = body(&Refusal::NotFound("/<script>".into()), Some("text/html,*/*;q=0.8"));
    assert!(page.contains("<title>404 Not Found</title>") && page.contains("/&lt;script&gt;"));
    assert_eq!(ResponseForm::named_in("*/*"), ResponseForm::Json);
    assert_eq!(ResponseForm::named_in("application/json, text/plain, */*"), ResponseForm::Json);
    assert_eq!(ResponseForm::named_in("text/html;q=0.2, application/json;q=0.9"), ResponseForm::Json);
    assert_eq!(ResponseForm::named_in("TEXT/HTML; q=0"), ResponseForm::Json);
    assert_eq!(ResponseForm::named_in("text/plain"), ResponseForm::Plain);
}

#[test]
fn temporary_refusals_have_a_retry_after() {
    let after = |refusal: Refusal| {
        let answer = refusal.response(None);
        answer.headers().get("retry-after").unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(after(Refusal::Busy), "1");
    assert_eq!(after(OverLimit::of(Limit::Sessions, 9).into()), "5");
    assert_eq!(after(Refusal::TooManyTries(77)), "77");
}
