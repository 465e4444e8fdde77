use super::*;

fn refused(status: u16, body: &str) -> Refusal {
    match read("h:2379", status, body.as_bytes()) {
        Some(Err(refusal)) => refusal,
        other => panic!("{body}: {other:?}"),
    }
}

/// The same error as each version of the gateway writes it, with the HTTP status of that version. A
/// stream whose first message has left already has the status 200. Bodies of etcd 3.4.23 are copied
/// from it, those of a stream aside: its LeaseKeepAlive checks no login.
#[test]
fn an_error_is_the_same_in_all_shapes() {
    let bodies = [
        // etcd 3.4: grpc-gateway 1.9.
        (401, r#"{"error":"etcdserver: invalid auth token","message":"etcdserver: invalid auth token","code":16}"#),
        // etcd 3.5: grpc-gateway 1.16.
        (401, r#"{"error":"etcdserver: invalid auth token","code":16,"message":"etcdserver: invalid auth token"}"#),
        // etcd 3.6 and newer: grpc-gateway 2; with and without what protojson may add.
        (401, r#"{"code":16,"message":"etcdserver: invalid auth token"}"#),
        (401, r#"{"code":16, "message":"etcdserver: invalid auth token", "details":[]}"#),
        // The same of streams.
        (
            401,
            "{\"error\":{\"grpc_code\":16,\"http_code\":401,\"message\":\"etcdserver: invalid auth token\",\
             \"http_status\":\"Unauthorized\"}}\n",
        ),
        (
            200,
            "{\"error\":{\"grpc_code\":16,\"http_code\":401,\"message\":\"etcdserver: invalid auth token\",\
             \"http_status\":\"Unauthorized\",\"details\":[]}}\n",
        ),
        (401, "{\"error\":{\"code\":16,\"message\":\"etcdserver: invalid auth token\"}}\n"),
        (200, "{\"error\":{\"code\":16,\"message\":\"etcdserver: invalid auth token\",\"details\":[]}}\n"),
        // Through etcd's grpc-proxy.
        (500, r#"{"error":"etcdserver: invalid auth token","message":"etcdserver: invalid auth token","code":2}"#),
        (500, "{\"error\":{\"code\":2,\"message\":\"etcdserver: invalid auth token\"}}\n"),
    ];
    for (status, body) in bodies {
        let refusal = refused(status, body);
        assert_eq!((refusal.weigh(), refusal.error().code), (Weight::Token, Code::Denied), "{body}");
        assert_eq!(refusal.message, "etcdserver: invalid auth token");
        assert!(refusal.error().text.contains("h:2379"), "{body}");
    }
}

#[test]
fn errors_have_their_classes() {
    let table = [
        (8, "etcdserver: mvcc: database space exceeded", Weight::Definite, Code::NoSpace),
        (8, "etcdserver: too many requests", Weight::Again, Code::Unreachable),
        (7, "etcdserver: permission denied", Weight::Definite, Code::Denied),
        (7, "anything else", Weight::Definite, Code::Denied),
        (3, "etcdserver: authentication failed, invalid user ID or password", Weight::Definite, Code::Denied),
        (2, "auth: authentication failed, password was given for no password user", Weight::Definite, Code::Denied),
        (3, "etcdserver: user name is empty", Weight::Definite, Code::Denied),
        (9, "etcdserver: authentication is not enabled", Weight::Definite, Code::Denied),
        (16, "etcdserver: invalid auth token", Weight::Token, Code::Denied),
        (16, "anything else", Weight::Token, Code::Denied),
        (3, "etcdserver: revision of auth store is old", Weight::Token, Code::Unreachable),
        (5, "etcdserver: requested lease not found", Weight::Definite, Code::Unreachable),
        (9, "etcdserver: lease already exists", Weight::Definite, Code::Unreachable),
        (11, "etcdserver: mvcc: required revision has been compacted", Weight::Definite, Code::Unreachable),
        (14, "etcdserver: rpc not supported for learner", Weight::Again, Code::Unreachable),
        (9, "etcdserver: rpc not supported for learner", Weight::Again, Code::Unreachable),
        (14, "etcdserver: not capable", Weight::Again, Code::Unreachable),
        (9, "etcdserver: not capable", Weight::Again, Code::Unreachable),
        (14, "etcdserver: request timed out", Weight::Unclear, Code::Unreachable),
        (14, "etcdserver: leader changed", Weight::Unclear, Code::Unreachable),
        (14, "etcdserver: server stopped", Weight::Unclear, Code::Unreachable),
        (14, "etcdserver: no leader", Weight::Unclear, Code::Unreachable),
        (9, "etcdserver: not leader", Weight::Definite, Code::Unreachable),
        (12, "Method Not Allowed", Weight::Definite, Code::Unsupported),
        (3, "unexpected EOF", Weight::Definite, Code::Unreachable),
        (2, "anything else", Weight::Unclear, Code::Unreachable),
        (4, "context deadline exceeded", Weight::Unclear, Code::Unreachable),
        (15, "etcdserver: corrupt cluster", Weight::Unclear, Code::Unreachable),
    ];
    for (number, message, weight, code) in table {
        for body in [
            format!(r#"{{"error":"{message}","message":"{message}","code":{number}}}"#),
            format!(r#"{{"error":{{"grpc_code":{number},"http_code":400,"message":"{message}","http_status":"?"}}}}"#),
            format!(r#"{{"code":{number},"message":"{message}"}}"#),
            format!(r#"{{"error":{{"code":{number},"message":"{message}"}}}}"#),
        ] {
            let refusal = refused(400, &body);
            assert_eq!((refusal.weigh(), refusal.error().code), (weight, code), "{body}");
            assert_eq!(refusal.is_denied(), number == 7, "{body}");
            assert_eq!(refusal.is_no_lease(), message.ends_with("lease not found"), "{body}");
            assert_eq!(refusal.is_lease_taken(), message.ends_with("lease already exists"), "{body}");
            assert_eq!(refusal.is_compacted(), message.ends_with("compacted"), "{body}");
        }
    }
}

/// A server that takes shorter requests than etcd does by default may refuse a value that libdss allows.
#[test]
fn a_value_too_large_for_the_server_is_told_from_a_full_one() {
    let large = [(3, "etcdserver: request is too large"), (8, "grpc: received message larger than max (9 vs. 5)")];
    for (number, message) in large {
        let refusal = refused(400, &format!(r#"{{"code":{number},"message":"{message}"}}"#));
        assert_eq!((refusal.weigh(), refusal.error().code), (Weight::Definite, Code::NoSpace), "{message}");
        let error = refusal.error_of_value();
        assert!(error.code == Code::TooLarge && error.text.contains("--max-request-bytes"), "{error:?}");
    }
    let full = refused(429, r#"{"code":8,"message":"etcdserver: mvcc: database space exceeded"}"#);
    assert_eq!(full.error_of_value().code, Code::NoSpace);
}

/// With users, etcd refuses a client certificate with a common name before its gateway has the request.
#[test]
fn refusals_in_plain_text_are_known() {
    let name = "CommonName of client sending a request against gateway will be ignored and not used as expected\n";
    let refusal = refused(400, name);
    assert_eq!((refusal.weigh(), refusal.error().code), (Weight::Definite, Code::Denied));
    let text = refusal.error().text;
    assert!(["h:2379", "without CN", "cert=", "auth disable"].iter().all(|part| text.contains(part)), "{text}");
    assert!(!refusal.is_denied() && !text.contains('\n'));

    let host =
        "\netcd received your request, but the Host header was unrecognized.\n\nTo fix this, choose one of ...\n";
    let refusal = refused(421, host);
    assert_eq!((refusal.weigh(), refusal.error().code), (Weight::Again, Code::Unreachable));
    let text = refusal.error().text;
    assert!(text.contains("--host-whitelist") && !text.contains("To fix this"), "{text}");
}

#[test]
fn answers_are_no_refusals() {
    let answers = [
        r#"{"header":{"revision":"7"},"succeeded":true}"#,
        "{\"result\":{\"ID\":\"12\",\"TTL\":\"5\"}}\n",
        // A stream that ends badly after its answer.
        "{\"result\":{\"ID\":\"12\",\"TTL\":\"5\"}}\n{\"error\":{\"code\":14,\"message\":\"etcdserver: no leader\"}}\n",
    ];
    for body in answers {
        assert!(matches!(read("h:2379", 200, body.as_bytes()), Some(Ok(_))), "{body}");
    }
    let nonsense = [
        (200, ""),
        (200, "[]"),
        (404, "404 page not found\n"),
        (400, "Client sent an HTTP request to an HTTPS server.\n"),
        (502, "<html>invalid auth token</html>"),
        (502, "{\"reason\":\"Bad Gateway\"}"),
        (500, "{\"error\":\"failed to marshal error message\"}"),
    ];
    for (status, body) in nonsense {
        assert!(read("h:2379", status, body.as_bytes()).is_none(), "{body}");
    }
}
