//! The throw-away authority of one cluster, its serving certificate and its tokens.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::cluster::plan::Plan;

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 24;

/// Who may talk to the API server: file name of its kubeconfig, user, group.
pub(crate) struct Identity {
    pub(crate) file: String,
    user: String,
    group: &'static str,
    token: String,
}

impl Identity {
    fn new(file: &str, user: &str, group: &'static str) -> Result<Self> {
        Ok(Self { file: file.to_owned(), user: user.to_owned(), group, token: random_token()? })
    }
}

/// The identities of the programs of one cluster, the user's own first.
///
/// # Errors
/// When the system has no randomness.
pub(crate) fn identities(plan: &Plan) -> Result<Vec<Identity>> {
    let mut all = vec![
        Identity::new("admin", "admin", "system:masters")?,
        Identity::new("kube-controller-manager", "system:kube-controller-manager", "")?,
        Identity::new("kube-scheduler", "system:kube-scheduler", "")?,
        Identity::new("kube-proxy", "system:kube-proxy", "")?,
        Identity::new("coredns", "system:coredns", "system:masters")?,
    ];
    for node in plan.every_node() {
        all.push(Identity::new(&node.name, &format!("system:node:{}", node.name), "system:nodes")?);
    }
    Ok(all)
}

/// Writes the authority, the serving certificate, the key of service accounts, the API server's token file and one
/// kubeconfig for each identity into the cluster's state folder.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write_all(plan: &Plan) -> Result<()> {
    let state = plan.paths().state;
    let ca_pem = write_certificates(plan, &state)?;
    let identities = identities(plan)?;
    let tokens: String = identities
        .iter()
        .map(|one| format!("{},{},{},\"{}\"\n", one.token, one.user, one.file, one.group))
        .collect();
    write_private(&state.join("tokens.csv"), &tokens)?;
    for identity in &identities {
        let text = kubeconfig(&plan.name, &plan.inner_server(), &ca_pem, &identity.token);
        write_private(&state.join(format!("{}.kubeconfig", identity.file)), &text)?;
    }
    let admin = identities.first().context("a cluster has an admin")?;
    let server = format!("https://127.0.0.1:{}", plan.host_port());
    write_private(&plan.paths().kubeconfig(), &kubeconfig(&plan.name, &server, &ca_pem, &admin.token))
}

fn write_certificates(plan: &Plan, state: &Path) -> Result<String> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    ca.distinguished_name.push(DnType::CommonName, format!("groupcache local cluster {}", plan.name));
    let ca_pem = ca.self_signed(&ca_key)?.pem();

    let mut serving = CertificateParams::new(vec![
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
        plan.control_plane().to_string(),
        plan.api_service().to_string(),
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        "kubernetes.default.svc.cluster.local".to_owned(),
    ])?;
    serving.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    serving.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let serving_key = KeyPair::generate()?;
    let serving_pem = serving.signed_by(&serving_key, &Issuer::new(ca, ca_key))?.pem();

    write_private(&state.join("ca.pem"), &ca_pem)?;
    write_private(&state.join("serving.pem"), &serving_pem)?;
    write_private(&state.join("serving.key"), &serving_key.serialize_pem())?;
    let accounts = KeyPair::generate()?;
    write_private(&state.join("service-accounts.key"), &accounts.serialize_pem())?;
    write_private(&state.join("service-accounts.pub"), &accounts.public_key_pem())?;
    Ok(ca_pem)
}

fn kubeconfig(cluster: &str, server: &str, ca_pem: &str, token: &str) -> String {
    let ca = base64(ca_pem.as_bytes());
    // In quotes: a cluster may be called y, which YAML takes for a truth.
    let cluster = format!("\"{cluster}\"");
    format!(
        "apiVersion: v1\nkind: Config\n\
         clusters:\n- name: {cluster}\n  cluster:\n    server: {server}\n    certificate-authority-data: {ca}\n\
         users:\n- name: {cluster}\n  user:\n    token: {token}\n\
         contexts:\n- name: {cluster}\n  context:\n    cluster: {cluster}\n    user: {cluster}\n\
         current-context: {cluster}\n"
    )
}

/// Writes a file that only its owner may read: tokens and keys of the cluster's admin.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("could not create {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("could not write {}", path.display()))
}

fn random_token() -> Result<String> {
    let mut bytes = [0_u8; TOKEN_BYTES];
    let mut source = fs::File::open("/dev/urandom").context("could not open /dev/urandom")?;
    std::io::Read::read_exact(&mut source, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Standard base64 with padding, which kubeconfig files want.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = [0_u8; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(word);
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() { char::from(LETTERS[sextet as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_agrees_with_the_examples_of_its_rfc() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_cluster_may_be_called_what_yaml_takes_for_something_else() {
        assert!(kubeconfig("y", "https://a", "", "t").ends_with("current-context: \"y\"\n"));
    }

    #[test]
    fn every_program_and_node_has_a_token_of_its_own() {
        let plan = Plan::new("some", 0, 2).unwrap();

        let identities = identities(&plan).unwrap();

        let tokens: std::collections::BTreeSet<_> = identities.iter().map(|one| &one.token).collect();
        assert_eq!(tokens.len(), identities.len());
        assert!(identities.iter().any(|one| one.user == "system:node:node-2" && one.group == "system:nodes"));
    }
}
