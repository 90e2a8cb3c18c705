"""Judges deploy/kubernetes: python3 tests/kubernetes/manifest.py TRUSTSYNC (the binary). A line for each thing that holds."""

import pathlib
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

MANIFEST = pathlib.Path("deploy/kubernetes/nginx-sidecar.yaml")
# The first with native sidecars switched on, and what followed.
VERSIONS = ["1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]

documents = list(yaml.safe_load_all(MANIFEST.read_text()))
by_name = {(each["kind"], each["metadata"]["name"]): each for each in documents}
pod = by_name["Deployment", "api"]["spec"]["template"]["spec"]
sidecar, = pod["initContainers"]
nginx, = pod["containers"]
failures = 0


def check(what, holds, why=""):
    global failures
    print("ok" if holds else "FAILED", what)
    if not holds:
        failures += 1
        print("    " + str(why).replace("\n", "\n    "))


def strict(document, version):
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return error.message


refusals = {(version, each["kind"]): strict(each, version) for version in VERSIONS for each in documents}
check(f"every object fits the schemas of Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}", not any(refusals.values()), refusals)
misspelt = yaml.safe_load(yaml.safe_dump(by_name["Deployment", "api"]))
misspelt["spec"]["template"]["spec"]["initContainers"][0]["restartPolcy"] = "Always"
check("and one misspelt key does not", all(strict(misspelt, version) for version in VERSIONS))

for name in ["trustsync-http.conf", "trustsync-server.conf"]:
    shipped = pathlib.Path("deploy/nginx", name).read_text()
    check(f"{name} is the shipped one, byte for byte", by_name["ConfigMap", "nginx"]["data"][name] == shipped)

# What the "restricted" Pod Security Standard asks for, and what we ask for besides.
user = pod["securityContext"]
check("the pod runs as an ordinary user, with the runtime's seccomp filter",
      user["runAsNonRoot"] and user["runAsUser"] > 0 and user["seccompProfile"] == {"type": "RuntimeDefault"})
for container in [sidecar, nginx]:
    mine = container["securityContext"]
    check(f"{container['name']} has no capability, gains none, and writes to volumes alone",
          mine == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
          and container["resources"]["requests"] and container["resources"]["limits"]["memory"])
check("both have one user and see each other's processes", pod["shareProcessNamespace"] and "runAsUser" in user)
check("trustsync is up before nginx, and ends after it", sidecar["restartPolicy"] == "Always" and "startupProbe" in sidecar)
secrets = [each["secret"] for each in pod["volumes"] if "secret" in each]
check("no secret is readable by everyone", len(secrets) == 2 and all(each["defaultMode"] == 0o440 for each in secrets))
mounts = {mount["name"]: mount for mount in nginx["volumeMounts"]}
check("nginx reads the store and cannot write it", mounts["store"]["readOnly"])
known = {each["name"] for each in pod["volumes"]}
mounted = {mount["name"] for each in [sidecar, nginx] for mount in each["volumeMounts"]}
check("every volume is mounted, and every mount has its volume", known == mounted, known ^ mounted)
check("no mount of a configuration or secret is a single file, which would never be renewed",
      all("subPath" not in mount or mount["name"] == "store" for each in [sidecar, nginx] for mount in each["volumeMounts"]))

with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "config.toml")
    secret = pathlib.Path(folder, "client-secret")
    secret.write_text("secret")
    secret.chmod(0o440)
    text = by_name["ConfigMap", "trustsync"]["data"]["config.toml"]
    mount = next(each["mountPath"] for each in sidecar["volumeMounts"] if each["name"] == "client-secret")
    check("its secret is where the Secret is mounted", f'"{mount}/client-secret"' in text, text)
    path.write_text(text.replace(f"{mount}/client-secret", str(secret)))
    judged = subprocess.run([sys.argv[1], "--config", path, "config", "check"], capture_output=True, text=True)
    check("trustsync config check accepts its configuration", judged.returncode == 0, judged.stdout + judged.stderr)
    shown = subprocess.run([sys.argv[1], "--config", path, "config", "show"], capture_output=True, text=True).stdout
    port = sidecar["ports"][0]["containerPort"]
    check("the probes ask where it listens", f'listen.address = "0.0.0.0:{port}"' in shown, shown)

sys.exit(failures > 0)
