//! Is the line encrypted, and the server the one that was meant, as `sslmode` asks?

use std::path::Path;
use std::process::Command;

use super::super::super::Target;
use super::super::PostgresTarget;
use super::cluster::Cluster;
use super::cluster::give_away;
use super::fixture::*;

/// Makes a certificate and its key; false if there is no openssl.
fn certificate(folder: &Path, name: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new("openssl");
    command.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-x509", "-days", "2"]);
    command.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]).args(arguments).current_dir(folder);
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(_) => false,
    }
}

/// A cluster whose certificate, for `localhost` only, is signed by `root.pem` or, if `is_own_root`, by itself.
fn cluster(is_own_root: bool) -> Option<Cluster> {
    let mut cluster = started(&[])?;
    let folder = cluster.data();
    let host = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let made = certificate(&folder, "root", &["-subj", "/CN=A root"])
        && certificate(&folder, "other", &["-subj", "/CN=Another root"])
        && if is_own_root {
            certificate(&folder, "server", &host)
        } else {
            certificate(
                &folder,
                "server",
                &[&host[..], &["-CA", "root.pem", "-CAkey", "root.key", "-addext", "basicConstraints=critical,CA:FALSE"]].concat(),
            )
        };
    if !made {
        eprintln!("SKIPPED: there is no openssl here to make a certificate with");
        return None;
    }
    give_away(&folder.join("server.key"));
    let settings = "ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n";
    std::fs::write(folder.join("postgresql.auto.conf"), settings).unwrap();
    cluster.stop_immediately();
    cluster.start_again();
    Some(cluster)
}

/// Whether a connection comes about, and is encrypted; else why not.
async fn connects(cluster: &Cluster, host: &str, query: &str) -> Result<bool, String> {
    let query = query.replace("FOLDER", &cluster.data().display().to_string().replace('/', "%2F"));
    let url = format!("postgres://postgres@{host}:{}/postgres?{query}", cluster.port);
    let target = PostgresTarget::new(options(&url)).unwrap();
    let opened = target.open(opening(HASH, true)).await;
    let writer = opened.map_err(|fault| passing(Err::<(), _>(fault)))?;
    let found = sql(
        &cluster.url(),
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'factum:declarations' ORDER BY backend_start DESC",
    )
    .await;
    drop(writer);
    Ok(found[0] == ["t"])
}

#[tokio::test]
async fn the_server_is_checked_as_sslmode_says() {
    let Some(cluster) = cluster(false) else { return };
    for (host, query, expected) in [
        ("127.0.0.1", "sslmode=disable", Ok(false)),
        ("127.0.0.1", "", Ok(true)),
        ("127.0.0.1", "sslmode=require", Ok(true)),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert=FOLDER%2Froot.pem", Ok(true)),
        ("localhost", "sslmode=verify-full&sslrootcert=FOLDER%2Froot.pem", Ok(true)),
        ("127.0.0.1", "sslmode=verify-full&sslrootcert=FOLDER%2Froot.pem", Err("not valid for name")),
        ("localhost", "sslmode=verify-full&sslrootcert=FOLDER%2Fother.pem", Err("UnknownIssuer")),
        ("localhost", "sslmode=verify-ca&sslrootcert=FOLDER%2Fother.pem", Err("UnknownIssuer")),
        ("localhost", "sslmode=require&sslrootcert=FOLDER%2Fother.pem", Err("UnknownIssuer")),
        ("localhost", "sslmode=verify-full&sslrootcert=FOLDER%2Fmissing.pem", Err("missing.pem")),
        ("localhost", "sslmode=verify-full", Err("certificate")),
    ] {
        let found = connects(&cluster, host, query).await;
        match (&found, expected) {
            (Ok(found), Ok(expected)) if *found == expected => {}
            (Err(found), Err(expected)) if found.contains(expected) => {}
            _ => panic!("{host} {query}: {found:?}, not {expected:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_signed_for_itself_can_be_named_as_its_own_root() {
    let Some(cluster) = cluster(true) else { return };
    for (host, query, is_fine) in [
        ("localhost", "sslmode=verify-full&sslrootcert=FOLDER%2Fserver.pem", true),
        ("127.0.0.1", "sslmode=verify-full&sslrootcert=FOLDER%2Fserver.pem", false),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert=FOLDER%2Fserver.pem", true),
        ("localhost", "sslmode=verify-full&sslrootcert=FOLDER%2Froot.pem", false),
    ] {
        let found = connects(&cluster, host, query).await;
        assert_eq!(found.is_ok(), is_fine, "{host} {query}: {found:?}");
    }
}
#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_was_asked_for() {
    let Some(cluster) = started(&[]) else { return };
    let fault = connects(&cluster, "127.0.0.1", "sslmode=require").await.unwrap_err();
    assert!(fault.contains("does not support TLS"), "{fault}");
    assert_eq!(connects(&cluster, "127.0.0.1", "sslmode=prefer").await, Ok(false));
}
