//! Do keys go through their states in order, and survive being killed between any two steps?

use std::path::Path;

use super::*;

const MINUTE: i64 = 60_000_000;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_micros(minutes * MINUTE)
}

fn options(algorithm: SigningAlgorithm) -> KeyOptions {
    KeyOptions { algorithm, rotate_every: Some(Duration::from_mins(100)), token_ttl: Duration::from_mins(10) }
}

async fn open(folder: Option<&Path>, key: Option<&[u8]>, algorithm: SigningAlgorithm, now: Timestamp) -> Result<Keys, KeyStoreError> {
    let (store, _) = open_store(folder.map(Path::to_owned), key.map(<[u8]>::to_vec)).await?;
    Keys::open(store, options(algorithm), now).await
}

fn states(keys: &Keys, now: Timestamp) -> Vec<(String, KeyState)> {
    keys.infos(now).into_iter().map(|info| (info.id, info.state)).collect()
}

fn active(keys: &Keys, now: Timestamp) -> String {
    states(keys, now).into_iter().find(|(_, state)| *state == KeyState::Active).unwrap().0
}

#[tokio::test]
async fn each_algorithm_verifies_what_it_signs_and_nothing_else() {
    for algorithm in SigningAlgorithm::ALL {
        let keys = open(None, None, algorithm, at(0)).await.unwrap();
        let (message, signature) = keys.sign(|algorithm, id| format!("{}.{id}", algorithm.as_str())).unwrap();
        let public = keys.public(&active(&keys, at(0)), at(0)).unwrap();
        let signature = crate::auth::text::encode(signature);
        assert!(public.verifies(algorithm.as_str(), message.as_bytes(), &signature));
        assert!(!public.verifies(algorithm.as_str(), b"another", &signature));
        for other in ["none", "HS256", "ES384", "RS512", ""] {
            assert!(!public.verifies(other, message.as_bytes(), &signature), "{other}");
        }
        // The public key as the world gets it says the same.
        let jwks = keys.jwks(at(0));
        let jwk = jwks["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == active(&keys, at(0))).unwrap();
        assert!(PublicKey::of_jwk(jwk.as_object().unwrap()).unwrap().verifies(algorithm.as_str(), message.as_bytes(), &signature));
        assert!(jwk.get("d").is_none() && jwk.get("p").is_none(), "{jwk}");
    }
}

#[tokio::test]
async fn keys_go_from_next_to_active_to_retiring_to_gone() {
    let keys = open(None, None, SigningAlgorithm::EdDsa, at(0)).await.unwrap();
    let before = states(&keys, at(0));
    assert_eq!(before.iter().map(|(_, state)| *state).collect::<Vec<_>>(), [KeyState::Active, KeyState::Next]);
    assert!(keys.public(&before[1].0, at(0)).is_none(), "what signs nothing yet verifies nothing");
    keys.rotate(at(5)).await.unwrap();
    let after = states(&keys, at(5));
    assert_eq!(after[0], (before[0].0.clone(), KeyState::Retiring));
    assert_eq!(after[1], (before[1].0.clone(), KeyState::Active), "what was published before signs now");
    assert_eq!(after[2].1, KeyState::Next);
    // Ten minutes for its last token, and the grace.
    assert!(keys.public(&before[0].0, at(15)).is_some());
    assert!(keys.public(&before[0].0, at(16)).is_none());
    assert_eq!(keys.jwks(at(16))["keys"].as_array().unwrap().len(), 2);
    assert!(keys.keep(at(16)).await.unwrap());
    assert!(!keys.keep(at(16)).await.unwrap(), "once");
    assert_eq!(states(&keys, at(0)).len(), 2);
    // On schedule.
    assert!(!keys.keep(at(104)).await.unwrap());
    assert!(keys.keep(at(105)).await.unwrap());
    assert_eq!(active(&keys, at(105)), after[2].0);
}

#[tokio::test]
async fn a_ring_is_the_same_after_a_restart_and_opens_with_its_own_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let secret = [7; 32];
    let keys = open(Some(&path), Some(&secret), SigningAlgorithm::Es256, at(0)).await.unwrap();
    keys.rotate(at(1)).await.unwrap();
    let again = open(Some(&path), Some(&secret), SigningAlgorithm::Es256, at(2)).await.unwrap();
    assert_eq!(states(&again, at(2)), states(&keys, at(2)));
    for wrong in [Some([8; 32].as_slice()), None] {
        let error = open(Some(&path), wrong, SigningAlgorithm::Es256, at(2)).await.err().unwrap();
        assert!(matches!(error, KeyStoreError::Unreadable { .. }), "{error}");
    }
    assert!(matches!(open(Some(&path), Some(&[7; 31]), SigningAlgorithm::Es256, at(2)).await, Err(KeyStoreError::Short(31))));
    // Another algorithm in the settings rotates, and what was signed before still counts.
    let before = active(&again, at(2));
    let other = open(Some(&path), Some(&secret), SigningAlgorithm::EdDsa, at(3)).await.unwrap();
    assert!(other.public(&before, at(3)).is_some());
    assert_eq!(other.sign(|algorithm, _| algorithm.as_str().to_owned()).unwrap().0, "EdDSA");
}

#[tokio::test]
async fn private_keys_lie_sealed_and_nobody_else_reads_the_folder() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let keys = open(Some(&path), None, SigningAlgorithm::EdDsa, at(0)).await.unwrap();
    let mode = |name: &str| std::fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("key"), mode("ring.json")), (0o700, 0o600, 0o600));
    let stored: serde_json::Value = serde_json::from_slice(&std::fs::read(path.join("ring.json")).unwrap()).unwrap();
    let raw = std::fs::read(path.join("ring.json")).unwrap();
    for key in &keys.ring().keys {
        for whole in [crate::auth::text::encode(&key.pkcs8), crate::auth::text::encode(&key.pkcs8[16..])] {
            assert!(!String::from_utf8_lossy(&raw).contains(&whole));
        }
    }
    assert!(stored["keys"][0]["sealed"].as_str().unwrap().len() > 60);
    // What is changed in it is noticed.
    let text = String::from_utf8(raw).unwrap();
    let id = stored["keys"][0]["id"].as_str().unwrap();
    let other = stored["keys"][1]["id"].as_str().unwrap();
    let swapped = text.replace(id, "x").replace(other, id).replace("\"x\"", &format!("\"{other}\""));
    std::fs::write(path.join("ring.json"), swapped).unwrap();
    assert!(matches!(open(Some(&path), None, SigningAlgorithm::EdDsa, at(0)).await, Err(KeyStoreError::Unreadable { .. })));
}

/// A replacement writes `ring.json.tmp`, syncs it and renames it. Whatever a kill leaves behind, the next start has one of the two rings.
#[tokio::test]
async fn a_kill_between_any_two_steps_leaves_the_old_ring_or_the_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let keys = open(Some(&path), None, SigningAlgorithm::EdDsa, at(0)).await.unwrap();
    let old = std::fs::read(path.join("ring.json")).unwrap();
    let (before, _) = (states(&keys, at(1)), keys.rotate(at(1)).await.unwrap());
    let (new, after) = (std::fs::read(path.join("ring.json")).unwrap(), states(&keys, at(1)));
    for cut in 0..=new.len() {
        if cut % 97 != 0 && cut != new.len() {
            continue;
        }
        std::fs::write(path.join("ring.json"), &old).unwrap();
        std::fs::write(path.join("ring.json.tmp"), &new[..cut]).unwrap();
        let again = open(Some(&path), None, SigningAlgorithm::EdDsa, at(1)).await.unwrap();
        assert_eq!(states(&again, at(1)), before, "killed before the rename, {cut} bytes written");
    }
    std::fs::write(path.join("ring.json"), &new).unwrap();
    let again = open(Some(&path), None, SigningAlgorithm::EdDsa, at(1)).await.unwrap();
    assert_eq!(states(&again, at(1)), after, "killed behind the rename");
}

#[tokio::test]
async fn rotating_in_a_loop_comes_to_an_end() {
    let keys = open(None, None, SigningAlgorithm::EdDsa, at(0)).await.unwrap();
    let mut rotations = 0;
    while keys.rotate(at(1)).await.is_ok() {
        rotations += 1;
        assert!(rotations < 100);
    }
    assert_eq!(rotations, 16);
    assert!(keys.rotate(at(60)).await.is_ok(), "once those before are gone, it goes on");
}

#[test]
fn j12_weak_keys_are_none() {
    let jwk = |text: &str| PublicKey::of_jwk(serde_json::from_str::<serde_json::Value>(text).unwrap().as_object().unwrap()).is_some();
    let n = |bytes: usize| crate::auth::text::encode(vec![0xc5; bytes]);
    assert!(jwk(&format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, n(256))));
    assert!(!jwk(&format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, n(255))));
    assert!(!jwk(&format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, n(1_025))));
    let zero = crate::auth::text::encode([0; 32]);
    let one = crate::auth::text::encode([1; 32]);
    assert!(!jwk(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{one}","y":"{zero}"}}"#)), "not on the curve");
    assert!(!jwk(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{one}"}}"#, n(31))));
    assert!(!jwk(&format!(r#"{{"kty":"oct","k":"{one}"}}"#)), "a symmetric key");
    let ed = crate::auth::text::encode([
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6,
        0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
    ]);
    assert!(jwk(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ed}","use":"sig","key_ops":["verify"],"alg":"EdDSA"}}"#)));
    for bad in [r#""use":"enc""#, r#""key_ops":["encrypt"]"#, r#""key_ops":"verify""#, r#""alg":"ES256""#, r#""alg":7"#] {
        assert!(!jwk(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ed}",{bad}}}"#)), "{bad}");
    }
    assert!(PublicKey::of_secret(&[1; 31]).is_none() && PublicKey::of_secret(&[1; 32]).is_some());
}
