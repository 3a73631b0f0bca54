//! The programs of the control plane: etcd, the API server, controllers, scheduler, DNS and the way in from the host.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cluster::daemon::Program;
use crate::cluster::plan::Plan;
use crate::tools::KubernetesTools;
use crate::tools::host;

/// Writes the files that the control plane's programs read.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn write_files(plan: &Plan) -> Result<()> {
    let state = plan.paths().state;
    fs::create_dir_all(state.join("etcd"))?;
    fs::write(state.join("audit-policy.json"), serde_json::to_vec_pretty(&audit_policy())?)?;
    fs::write(state.join("Corefile"), corefile(plan))?;
    fs::write(state.join("dns.json"), serde_json::to_vec_pretty(&dns_objects(plan))?)?;
    Ok(())
}

pub(crate) fn etcd(plan: &Plan) -> Result<Program> {
    let data = plan.paths().state.join("etcd");
    let path = host::find_program("etcd").context("etcd is not installed")?;
    Ok(Program::new("etcd", &plan.control_plane_namespace(), path)
        .argument(format!("--data-dir={}", data.display()))
        .argument("--listen-client-urls=http://127.0.0.1:2379")
        .argument("--advertise-client-urls=http://127.0.0.1:2379")
        .argument("--listen-peer-urls=http://127.0.0.1:2380")
        // The cluster is thrown away after use; nothing has to survive a power cut.
        .argument("--unsafe-no-fsync"))
}

pub(crate) fn api_server(plan: &Plan, tools: &KubernetesTools) -> Program {
    let state = plan.paths().state;
    let file = |name: &str| state.join(name).display().to_string();
    let audit = plan.paths().logs.join("audit.log");
    Program::new("kube-apiserver", &plan.control_plane_namespace(), tools.components.join("kube-apiserver"))
        .argument("--etcd-servers=http://127.0.0.1:2379")
        .argument(format!("--advertise-address={}", plan.control_plane()))
        .argument("--bind-address=0.0.0.0")
        .argument("--secure-port=6443")
        .argument(format!("--service-cluster-ip-range={}", plan.services()))
        .argument(format!("--token-auth-file={}", file("tokens.csv")))
        .argument("--authorization-mode=Node,RBAC")
        .argument("--enable-admission-plugins=NodeRestriction")
        .argument("--allow-privileged=true")
        .argument("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
        .argument(format!("--service-account-key-file={}", file("service-accounts.pub")))
        .argument(format!("--service-account-signing-key-file={}", file("service-accounts.key")))
        .argument(format!("--tls-cert-file={}", file("serving.pem")))
        .argument(format!("--tls-private-key-file={}", file("serving.key")))
        .argument(format!("--cert-dir={}", file("api-server")))
        // Node names are in no DNS: exec and logs must go to the address.
        .argument("--kubelet-preferred-address-types=InternalIP")
        .argument(format!("--audit-policy-file={}", file("audit-policy.json")))
        .argument(format!("--audit-log-path={}", audit.display()))
        .argument("--audit-log-maxsize=100")
        // Nothing of a run is lost: the tests read there what the operator did, from its first request on.
        .argument("--audit-log-maxbackup=9")
        .argument("--profiling=false")
}

pub(crate) fn controller_manager(plan: &Plan, tools: &KubernetesTools) -> Program {
    let state = plan.paths().state;
    let file = |name: &str| state.join(name).display().to_string();
    let name = "kube-controller-manager";
    Program::new(name, &plan.control_plane_namespace(), tools.components.join(name))
        .argument(format!("--kubeconfig={}", file("kube-controller-manager.kubeconfig")))
        .argument("--use-service-account-credentials=true")
        .argument(format!("--root-ca-file={}", file("ca.pem")))
        .argument(format!("--service-account-private-key-file={}", file("service-accounts.key")))
        .argument(format!("--cert-dir={}", file("controller-manager")))
        .argument(format!("--flex-volume-plugin-dir={}", file("volume-plugins")))
        .argument("--bind-address=127.0.0.1")
        .argument("--leader-elect=false")
        // A node that is cut off is NotReady after 20 s instead of 50 s: tests wait for it.
        .argument("--node-monitor-grace-period=20s")
}

pub(crate) fn scheduler(plan: &Plan, tools: &KubernetesTools) -> Program {
    let state = plan.paths().state;
    let name = "kube-scheduler";
    Program::new(name, &plan.control_plane_namespace(), tools.components.join(name))
        .argument(format!("--kubeconfig={}", state.join("kube-scheduler.kubeconfig").display()))
        .argument(format!("--cert-dir={}", state.join("scheduler").display()))
        .argument("--bind-address=127.0.0.1")
        .argument("--leader-elect=false")
}

/// Runs beside the control plane, not in a pod: a test that cuts off or drains a node must not take DNS along.
pub(crate) fn coredns(plan: &Plan, tools: &KubernetesTools) -> Program {
    Program::new("coredns", &plan.control_plane_namespace(), tools.coredns.clone())
        .argument("-conf")
        .argument(plan.paths().state.join("Corefile"))
}

/// Carries connections from the host's loopback to the API server: the listener was made outside of the namespace and
/// stays there, the process that answers it lives inside.
///
/// # Errors
/// When this program cannot be copied.
pub(crate) fn host_door(plan: &Plan, listener: TcpListener) -> Result<Program> {
    // A copy: the build folder may be cleaned while the cluster runs. By this way, which leads to the program even if it has been built anew since.
    let copy: PathBuf = plan.paths().state.join("host-door");
    fs::copy("/proc/self/exe", &copy).with_context(|| format!("could not write {}", copy.display()))?;
    let mut program = Program::new("host-door", &plan.control_plane_namespace(), copy)
        .argument("cluster")
        .argument("host-door")
        .argument(format!("{}:6443", plan.control_plane()));
    program.input = Stdio::from(OwnedFd::from(listener));
    Ok(program)
}

/// Who did what, without bodies; without the heartbeats that would be most of it.
fn audit_policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "nonResourceURLs": ["/healthz*", "/readyz*", "/livez*"]},
            {
                "level": "None",
                "userGroups": ["system:nodes"],
                "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
            },
            {"level": "Metadata"},
        ],
    })
}

fn corefile(plan: &Plan) -> String {
    let kubeconfig = plan.paths().state.join("coredns.kubeconfig");
    let address = plan.control_plane();
    format!(
        "cluster.local:53 in-addr.arpa:53 {{\n\
         \x20   bind {address}\n    errors\n    ready {address}:8181\n\
         \x20   kubernetes cluster.local in-addr.arpa {{\n\
         \x20       kubeconfig {} {}\n        pods insecure\n        ttl 5\n    }}\n}}\n\
         .:53 {{\n    bind {address}\n    errors\n\
         \x20   template ANY ANY {{\n        rcode NXDOMAIN\n    }}\n}}\n",
        kubeconfig.display(),
        plan.name
    )
}

/// The Service that pods ask, with the address of the CoreDNS beside the control plane behind it.
fn dns_objects(plan: &Plan) -> Value {
    let ports = |with_target: bool| {
        let port = |name: &str, protocol: &str| {
            let mut port = json!({"name": name, "port": 53, "protocol": protocol});
            if with_target {
                port["targetPort"] = json!(53);
            }
            port
        };
        json!([port("dns", "UDP"), port("dns-tcp", "TCP")])
    };
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
            "spec": {"clusterIP": plan.dns_service(), "ports": ports(true)},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns-control-plane", "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [plan.control_plane()], "conditions": {"ready": true}}],
            "ports": ports(false),
        },
    ]})
}
