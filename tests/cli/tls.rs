//! Does the server speak TLS as it was told to, and nothing else?

use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use crate::process::Place;
use crate::process::Server;
use crate::process::Start;
use crate::process::run;
use crate::process::skipped;

/// An authority, and what it has signed, in a folder.
struct Authority {
    folder: PathBuf,
}

fn openssl(folder: &Path, words: &[&str]) {
    let output = Command::new("openssl").current_dir(folder).args(words).output().expect("openssl runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Authority {
    /// `None`, said so, where there is no openssl.
    fn new(test: &str, folder: PathBuf) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            skipped(test, "no openssl to make certificates with");
            return None;
        }
        fs::create_dir_all(&folder).expect("a folder");
        let ca = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem";
        openssl(&folder, &ca.split(' ').collect::<Vec<_>>());
        Some(Self { folder })
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("text").to_owned()
    }

    /// A certificate for this machine and its key: `name.pem`, `name.key`, and both in `name.both`.
    fn signs(&self, name: &str) {
        self.signs_for(name, "127.0.0.1");
    }

    /// The same, for a machine of this address.
    fn signs_for(&self, name: &str, address: &str) {
        let request = format!("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr");
        openssl(&self.folder, &request.split(' ').collect::<Vec<_>>());
        fs::write(self.folder.join("names"), format!("subjectAltName=IP:{address},DNS:localhost\n")).expect("a file");
        let sign = format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {name}.pem");
        openssl(&self.folder, &sign.split(' ').collect::<Vec<_>>());
        let both = [self.file(&format!("{name}.pem")), self.file(&format!("{name}.key"))].map(|file| fs::read(file).expect("a file"));
        fs::write(self.folder.join(format!("{name}.both")), both.concat()).expect("a file");
    }
}

fn with_tls(start: Start, of: &Authority, name: &str) -> Start {
    let (certificate, key) = (of.file(&format!("{name}.pem")), of.file(&format!("{name}.key")));
    start.env("FACTUM_TLS__CERTIFICATE", &certificate).env("FACTUM_TLS__KEY", &key)
}

fn append(server: &Server, words: &[&str]) -> crate::process::Ran {
    server.run(&[&["append", "order-1", "Placed", "{}"], words].concat())
}

/// One that is signed by nobody known gets nothing. The other takes nothing either, but says so in HTTP: so far it is trusted.
#[test]
fn a_collector_at_https_is_held_to_the_systems_authorities() {
    let other = Place::new();
    let Some(authority) = Authority::new("a collector at https", other.path("authority")) else { return };
    authority.signs("collector");
    let collector = with_tls(other.start(), &authority, "collector").ready();
    assert!(collector.url.starts_with("https://"), "{}", collector.url);
    for protocol in ["grpc", "http/protobuf"] {
        for is_known in [true, false] {
            let place = Place::new();
            let start =
                place.start().env("FACTUM_TELEMETRY__OTLP_ENDPOINT", &collector.url).env("FACTUM_TELEMETRY__OTLP_PROTOCOL", protocol);
            let start = if is_known { start.env("SSL_CERT_FILE", &authority.file("ca.pem")) } else { start };
            // What is left is sent before it ends.
            assert_eq!(start.ready().terminate(), Some(0));
            let log = fs::read_to_string(place.data().with_extension("log")).expect("a log");
            assert!(log.contains("the collector of logs does not take them"), "{protocol}: {log}");
            assert_eq!(log.contains("404 Not Found"), is_known, "{protocol}: {log}");
        }
    }
    assert_eq!(collector.terminate(), Some(0));
}

#[test]
fn clients_that_trust_the_authority_are_served_and_nobody_else() {
    let place = Place::new();
    let Some(ours) = Authority::new("tls", place.path("ours")) else { return };
    let Some(theirs) = Authority::new("tls", place.path("theirs")) else { return };
    ours.signs("server");
    let server = with_tls(place.start(), &ours, "server").ready();
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    append(&server, &["--ca", &ours.file("ca.pem")]).exits(0);
    append(&server, &[]).exits(1).says("--ca");
    append(&server, &["--ca", &theirs.file("ca.pem")]).exits(1);
    append(&server, &["--ca", &ours.file("server.key")]).exits(2).says("server.key");
    append(&server, &["--ca", "/nowhere.pem"]).exits(2).says("/nowhere.pem");
    // curl, over HTTP/2.
    let url = format!("{}/v1/streams/order-1/events", server.url);
    let words = ["-sS", "--cacert", &ours.file("ca.pem"), "-w", "%{http_version} %{http_code}", &url];
    let output = Command::new("curl").args(words).output().expect("curl runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Placed") && (said.ends_with("2 200") || said.ends_with("1.1 200")), "{said}");
    // Plain HTTP is told where it is.
    let address = server.url.trim_start_matches("https://").to_owned();
    let mut plain = TcpStream::connect(&address).expect("a connection");
    plain.write_all(b"GET /v1/status HTTP/1.1\r\nhost: a\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    plain.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("this port speaks TLS"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    let told = run(&["append", "a", "B", "{}"], "", &[("FACTUM_URL", &format!("http://{address}"))]);
    told.exits(1).says("https://");
    // Noise ends its own connection only.
    for noise in [&b"\x16\x03\x01\x40\x00"[..], b"\x00\x00\x00\x00", b"\xff\xff\xff\xff\xff\xff"] {
        let mut socket = TcpStream::connect(&address).expect("a connection");
        socket.write_all(noise).expect("it is sent");
        socket.shutdown(std::net::Shutdown::Write).expect("it can be ended");
        let mut rest = Vec::new();
        // Whether it is an alert or a reset is the library's affair.
        drop(socket.read_to_end(&mut rest));
    }
    append(&server, &["--ca", &ours.file("ca.pem")]).exits(0);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn certificates_of_clients_are_asked_for_when_an_authority_is_named() {
    let place = Place::new();
    let Some(ours) = Authority::new("tls", place.path("ours")) else { return };
    let Some(theirs) = Authority::new("tls", place.path("theirs")) else { return };
    ours.signs("server");
    ours.signs("client");
    theirs.signs("client");
    let start = Start::at(&place.data(), "0.0.0.0:0");
    let server = with_tls(start, &ours, "server").env("FACTUM_TLS__CLIENT_CA", &ours.file("ca.pem")).ready();
    let url = server.url.replace("0.0.0.0", "127.0.0.1");
    let with = |certificate: Option<String>| {
        let mut words = vec!["append".to_owned(), "order-1".into(), "Placed".into(), "{}".into(), "--ca".into(), ours.file("ca.pem")];
        words.extend(certificate.into_iter().flat_map(|file| ["--client-certificate".to_owned(), file]));
        run(&words.iter().map(String::as_str).collect::<Vec<_>>(), "", &[("FACTUM_URL", &url)])
    };
    with(Some(ours.file("client.both"))).exits(0);
    with(None).exits(1);
    with(Some(theirs.file("client.both"))).exits(1);
    with(Some(ours.file("client.pem"))).exits(2).says("client.pem");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_certificate_is_exchanged_while_connections_go_on() {
    let place = Place::new();
    let Some(first) = Authority::new("tls", place.path("first")) else { return };
    let Some(second) = Authority::new("tls", place.path("second")) else { return };
    first.signs("server");
    second.signs("server");
    let server = with_tls(place.start(), &first, "server").ready();
    let trusts = |authority: &Authority| append(&server, &["--ca", &authority.file("ca.pem")]).code == Some(0);
    let told = |needle: &str, times: usize| {
        let began = Instant::now();
        while server.log().matches(needle).count() < times {
            assert!(began.elapsed() < Duration::from_secs(60), "no {needle:?} in\n{}", server.log());
            std::thread::yield_now();
        }
    };
    assert!(trusts(&first) && !trusts(&second));
    // A feed that was there before.
    let mut feed = Command::new(crate::process::FACTUM)
        .args(["tail", "--json", "--url", &server.url, "--ca", &first.file("ca.pem"), "--from-start"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(feed.stdout.take().expect("piped")));
    assert!(lines.next().expect("a line").expect("text").contains("Placed"));
    let exchange = |pem: &str, key: &str| {
        fs::write(first.folder.join("server.pem"), pem).expect("a file");
        fs::write(first.folder.join("server.key"), key).expect("a file");
        server.signal("HUP");
    };
    let old = fs::read_to_string(first.file("server.pem")).expect("a file");
    let (pem, key) = (fs::read_to_string(second.file("server.pem")), fs::read_to_string(second.file("server.key")));
    let (pem, key) = (pem.expect("a file"), key.expect("a file"));
    // What does not fit together, and what is nothing, leaves the old one in force.
    exchange(&old, &key);
    told("the one before is in force still", 1);
    exchange("", &key);
    told("the one before is in force still", 2);
    assert!(trusts(&first) && !trusts(&second));
    exchange(&pem, &key);
    told("the certificate was read again", 1);
    assert!(trusts(&second) && !trusts(&first));
    // The feed has heard of all of them over its first connection.
    for _ in 0..2 {
        assert!(lines.next().expect("a line").expect("text").contains("Placed"));
    }
    drop(feed.kill());
    drop(feed.wait());
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn certificates_that_cannot_be_used_are_told_at_the_start() {
    let place = Place::new();
    let Some(ours) = Authority::new("tls", place.path("ours")) else { return };
    ours.signs("server");
    ours.signs("other");
    let start = |certificate: &str, key: &str| {
        place.start().env("FACTUM_TLS__CERTIFICATE", &ours.file(certificate)).env("FACTUM_TLS__KEY", &ours.file(key)).fails()
    };
    for (certificate, key, says) in [
        ("server.pem", "other.key", "server.pem: cannot be used with its key"),
        ("server.pem", "server.pem", "no private key"),
        ("server.key", "server.key", "no certificate"),
        ("nowhere.pem", "server.key", "nowhere.pem"),
    ] {
        let (status, said) = start(certificate, key);
        assert!(status.code() == Some(1) && said.contains(says) && said.contains("tls.key"), "{certificate} {key}: {said}");
    }
    let (_, said) = place.start().env("FACTUM_TLS__CERTIFICATE", &ours.file("server.pem")).fails();
    assert!(said.contains("tls.certificate is set without tls.key"), "{said}");
    let (_, said) = place.start().env("FACTUM_TLS__CLIENT_CA", &ours.file("ca.pem")).fails();
    assert!(said.contains("tls.client_ca is set without tls.certificate"), "{said}");
    // A certificate of its own says nothing about who may come in.
    let (_, said) = with_tls(Start::at(&place.data(), "0.0.0.0:0"), &ours, "server").fails();
    assert!(said.contains("is not a loopback address"), "{said}");
}

#[test]
fn h1_a_client_that_does_not_finish_its_handshake_is_let_go() {
    let place = Place::new();
    let Some(ours) = Authority::new("h1", place.path("ours")) else { return };
    ours.signs("server");
    let server = with_tls(place.start(), &ours, "server").env("FACTUM_LIMITS__HEADER_READ_TIMEOUT", "200ms").ready();
    let address = server.url.trim_start_matches("https://");
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut socket = TcpStream::connect(address).expect("a connection");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        socket.write_all(begun).expect("it is sent");
        // The end, or a reset: not the timeout of the test.
        let ended = socket.read(&mut [0; 64]);
        let is_over = ended.as_ref().map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |read| *read == 0);
        assert!(is_over, "{begun:?}: {ended:?}");
    }
    append(&server, &["--ca", &ours.file("ca.pem")]).exits(0);
    assert_eq!(server.terminate(), Some(0));
}

/// The address under which other machines would see this one.
fn address_outside(test: &str) -> Option<std::net::IpAddr> {
    // Nothing is sent: the system says which of its addresses it would send from.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    let found = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()).ok().map(|address| address.ip());
    let found = found.filter(|address| !address.is_loopback() && !address.is_unspecified());
    if found.is_none() {
        skipped(test, "this machine has no address but its own");
    }
    found
}

/// K7: a key set is fetched by https, from who can show a certificate of a known authority.
#[test]
fn k7_keys_of_another_issuer_come_over_tls_from_whom_the_system_trusts() {
    let test = "k7_keys_of_another_issuer_come_over_tls_from_whom_the_system_trusts";
    let place = Place::new();
    let (Some(ours), Some(theirs)) = (Authority::new(test, place.path("ours")), Authority::new(test, place.path("theirs"))) else { return };
    let Some(address) = address_outside(test) else { return };
    ours.signs_for("issuer", &address.to_string());
    let secret = place.path("root.secret");
    fs::write(&secret, "a secret of the settings").expect("a file");
    let issuer = with_tls(Start::at(&place.path("issuer"), &format!("{address}:0")), &ours, "issuer")
        .env("FACTUM_AUTH__ENABLED", "true")
        .env("FACTUM_AUTH__ISSUER", "urn:issuer")
        .env("FACTUM_AUTH__BOOTSTRAP_CLIENT_ID", "root")
        .env("FACTUM_AUTH__BOOTSTRAP_CLIENT_SECRET_FILE", secret.to_str().expect("text"))
        .ready();
    let words = ["token", "--client", "root", "--ca", &ours.file("ca.pem")];
    let told = [("FACTUM_URL", issuer.url.as_str()), ("FACTUM_CLIENT_SECRET", "a secret of the settings")];
    let token = run(&words, "", &told).exits(0).stdout.trim().to_owned();
    let config = place.path("factum.toml");
    let text = format!(
        "[auth]\nenabled = true\n\n[[auth.issuers]]\nissuer = \"urn:issuer\"\naudience = \"factum\"\n\
         jwks_url = \"{}/.well-known/jwks.json\"\n",
        issuer.url
    );
    fs::write(&config, text).expect("a file");
    for (number, (trusted, is_let_in)) in [(&ours, true), (&theirs, false)].into_iter().enumerate() {
        let start = Start::at(&place.path(&format!("data-{number}")), "127.0.0.1:0").flag(&["--config", config.to_str().expect("text")]);
        let server = start.env("SSL_CERT_FILE", &trusted.file("ca.pem")).ready();
        let ran = run(&["append", "order-1", "Placed", "{}"], "", &[("FACTUM_URL", &server.url), ("FACTUM_TOKEN", &token)]);
        if is_let_in {
            ran.exits(0);
        } else {
            ran.exits(1).says("token");
        }
        assert_eq!(server.terminate(), Some(0));
    }
    assert_eq!(issuer.terminate(), Some(0));
}
