//! A real nginx in the foreground, on loopback, with everything of it in one folder; stopped when dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::foreground::{self, Foreground, answers, wait_until};
use crate::port;

const WORKERS: usize = 2;

/// See the head of this file.
pub struct Nginx {
    dir: PathBuf,
    port: u16,
    master: Foreground,
}

impl Nginx {
    /// Starts nginx in `dir` (made if need be) with these contents of the `http` block, in which `@PORT@` stands for a
    /// free port and `@DIR@` for `dir`. A server certificate lies in `@DIR@/server.pem`, its key in `@DIR@/server.key`.
    /// Returns once the port answers.
    pub fn start(dir: &Path, http: &str) -> Self {
        fs::create_dir_all(dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        foreground::own_certificate(&dir, "localhost");
        let port = port::free_port();
        write_configuration(&dir, port, http);
        let master = launch(&dir, port);
        Self { dir, port, master }
    }

    /// Ends it, whole.
    pub fn stop(&mut self) {
        self.master.stop();
    }

    /// Starts it again after [`Nginx::stop`], at the same port.
    pub fn start_again(&mut self) {
        self.master = launch(&self.dir, self.port);
    }

    /// Whether its master has ended.
    pub fn has_ended(&mut self) -> bool {
        self.master.has_ended()
    }

    /// Writes the configuration anew, for the next check or reload.
    pub fn rewrite(&self, http: &str) {
        write_configuration(&self.dir, self.port, http);
    }

    /// Reloads as an operator would: `nginx -s reload`, which checks first. Returns once the old workers have ended.
    pub fn reload(&self) {
        let ended = self.workers_ended();
        let reload = Command::new("nginx")
            .args(["-p", self.dir.to_str().unwrap(), "-c", "nginx.conf", "-s", "reload"])
            .output()
            .unwrap();
        assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
        wait_until("the old workers end", || self.workers_ended() >= ended + WORKERS);
    }

    fn workers_ended(&self) -> usize {
        self.log().matches(" exited with code 0").count()
    }

    /// What belongs into `check =`.
    pub fn check_command(&self) -> Vec<String> {
        ["nginx", "-p", self.dir.to_str().unwrap(), "-c", "nginx.conf", "-t"].map(String::from).to_vec()
    }

    /// The master's pidfile.
    pub fn pidfile(&self) -> PathBuf {
        self.dir.join("nginx.pid")
    }

    /// The port that `@PORT@` stands for.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:` and that port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it wrote to its error log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("error.log")).unwrap_or_default()
    }

    /// How often it was asked to reload.
    pub fn reload_requests(&self) -> usize {
        self.log().matches("signal 1 (SIGHUP) received").count()
    }
}

fn launch(dir: &Path, port: u16) -> Foreground {
    let mut command = Command::new("nginx");
    command.args(["-p", dir.to_str().unwrap(), "-c", "nginx.conf", "-g", "daemon off;"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut master = Foreground::spawn(&mut command, "nginx is needed for this test: apt-get install nginx-light");
    let pid = master.pid().to_string();
    // The pidfile is written last.
    let writes = || fs::read_to_string(dir.join("nginx.pid")).is_ok_and(|written| written.trim() == pid);
    let log = || fs::read_to_string(dir.join("error.log")).unwrap_or_default();
    master.wait_until(|| answers(port) && writes(), log);
    master
}

fn write_configuration(dir: &Path, port: u16, http: &str) {
    let http = http.replace("@PORT@", &port.to_string()).replace("@DIR@", dir.to_str().unwrap());
    // Workers of a root master may otherwise not enter a test's folder.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let configuration = format!(
        "{user}
worker_processes {WORKERS};
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {dir}/tmp-body;
    proxy_temp_path {dir}/tmp-proxy;
    fastcgi_temp_path {dir}/tmp-fastcgi;
    uwsgi_temp_path {dir}/tmp-uwsgi;
    scgi_temp_path {dir}/tmp-scgi;
    ssl_certificate {dir}/server.pem;
    ssl_certificate_key {dir}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
{http}
}}
",
        dir = dir.display()
    );
    fs::write(dir.join("nginx.conf"), configuration).unwrap();
}
