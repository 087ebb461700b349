//! A server of a test's own: with other settings than the one that all tests share, or to be stopped, killed, copied, promoted.

use crate::application::Application;
use deploy_ports::Port;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long a server may take for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// PostgreSQL's own word for a data folder and the server on it.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    port: Port,
    /// The data folder in use.
    data: PathBuf,
    settings: Vec<String>,
    running: Option<Running>,
}

struct Running {
    shell: Child,
    /// The shell reads from it: when it closes, however this process ends, the server is ended.
    _care: ChildStdin,
}

/// Where the programs are, brought here when they are not.
fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = own.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap();
        let major = std::env::var("PG").unwrap_or_else(|_| "18".to_owned());
        let script = root.join("deploy/dev/services.sh");
        let fetched = Command::new(script).args(["fetch", "postgres"]).env("PG", major).output().unwrap();
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        PathBuf::from(String::from_utf8(fetched.stdout).unwrap().trim())
    })
}

/// The server refuses to run as root.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn nobodys_group() -> String {
    let said = Command::new("id").args(["-g", "nobody"]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// One of its programs, as a user that it runs as.
fn program(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    if is_root() {
        let group = nobodys_group();
        let drop = format!("env HOME=/nonexistent setpriv --reuid=nobody --regid={group} --clear-groups --");
        words.extend(drop.split(' ').map(str::to_owned));
    }
    words.push(home().join("bin").join(name).display().to_string());
    words
}

fn run(words: &[&str]) {
    let done =
        Command::new(words[0]).args(&words[1..]).current_dir("/").stdin(Stdio::null()).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{words:?}: {}\n{}", said(&done.stdout), said(&done.stderr));
}

fn run_program(name: &str, arguments: &[&str]) {
    let words = program(name);
    let words: Vec<&str> = words.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    run(&words);
}

fn give_to_nobody(path: &Path) {
    if is_root() {
        run(&["chown", "nobody:", path.to_str().unwrap()]);
    }
}

/// A data folder with nothing in it.
fn new_data(folder: &Path, name: &str) -> PathBuf {
    let data = folder.join(name);
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    give_to_nobody(&data);
    let arguments = "-U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync --wal-segsize=1 -D";
    let arguments: Vec<&str> = arguments.split(' ').chain([data.to_str().unwrap()]).collect();
    run_program("initdb", &arguments);
    data
}

impl Cluster {
    /// Starts one; each setting is `name=value`.
    pub(crate) fn start(settings: &[&str]) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let data = new_data(folder.path(), "data");
        let mut cluster =
            Cluster { folder, port: Port::reserve().unwrap(), data, settings: Vec::new(), running: None };
        cluster.begin_with(settings);
        cluster
    }

    /// The stopped server is a new one from now on, at the same address.
    pub(crate) fn stand_on_new(&mut self) {
        self.stand_on(&new_data(self.folder.path(), "new"));
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn application(&self, database: &str) -> Application {
        Application::connect(self.port(), database)
    }

    /// Starts the server that was stopped, with other settings.
    pub(crate) fn begin_with(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        self.begin();
    }

    /// Starts the server that was stopped.
    pub(crate) fn begin(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let mut shell = Command::new("sh");
        // The shell ends with the server; what waits for the test's end outlives it only until then.
        shell.args([
            "-c",
            "exec 3<&0; \"$@\" </dev/null 3<&- & p=$!; { read w <&3; kill -QUIT $p; } 2>/dev/null & wait $p",
            "sh",
        ]);
        shell.args(program("postgres")).arg("-D").arg(&self.data).args(["-p", &self.port().to_string()]);
        let usual = "listen_addresses=127.0.0.1 unix_socket_directories= wal_level=logical shared_buffers=16MB fsync=off \
                     max_connections=40 min_wal_size=2MB max_wal_size=64MB wal_keep_size=0";
        for setting in usual.split_whitespace().chain(self.settings.iter().map(String::as_str)) {
            shell.args(["-c", setting]);
        }
        let output = log.try_clone().unwrap();
        let mut shell =
            shell.current_dir("/").stdin(Stdio::piped()).stdout(output).stderr(log).spawn().unwrap();
        let care = shell.stdin.take().unwrap();
        self.running = Some(Running { shell, _care: care });
        self.wait("it answers", |cluster| {
            Application::try_connect(cluster.port(), "postgres")
                .is_ok_and(|mut a| a.attempt("SELECT 1").is_ok())
        });
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Waits for something while the server runs.
    fn wait(&mut self, what: &str, mut done: impl FnMut(&Cluster) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !done(self) {
            let ended = self.running.as_mut().unwrap().shell.try_wait().unwrap();
            let log = || std::fs::read_to_string(self.log()).unwrap();
            assert!(ended.is_none() && Instant::now() < until, "{what}: not in time\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it: INT is its fast shutdown, QUIT its immediate one, which is a crash.
    fn stop(&mut self, signal: &str) {
        let Some(mut running) = self.running.take() else { return };
        let pid = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            let _ = Command::new("kill").args(["-s", signal, pid]).status();
        }
        let until = Instant::now() + PATIENCE;
        while running.shell.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                // Dropping what the shell reads from ends the server, whatever it does.
                eprintln!("the server did not stop by {signal}");
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The fast shutdown: it sends everything before it ends.
    pub(crate) fn stop_fast(&mut self) {
        self.stop("INT");
    }

    /// The immediate shutdown: a crash.
    pub(crate) fn crash(&mut self) {
        self.stop("QUIT");
    }

    /// Copies the data folder of the stopped server, as a backup would.
    pub(crate) fn copy(&self) -> PathBuf {
        assert!(self.running.is_none(), "it runs");
        let copies = std::fs::read_dir(self.folder.path()).unwrap().count();
        let copy = self.folder.path().join(format!("copy{copies}"));
        run(&["cp", "-a", self.data.to_str().unwrap(), copy.to_str().unwrap()]);
        copy
    }

    /// The stopped server is another one from now on: the one on this data folder.
    pub(crate) fn stand_on(&mut self, data: &Path) {
        assert!(self.running.is_none(), "it runs");
        self.data = data.to_owned();
    }

    /// The data folder in use.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Starts the stopped server as a standby that follows nobody.
    pub(crate) fn begin_as_standby(&mut self) {
        let signal = self.data.join("standby.signal");
        drop(std::fs::File::create(&signal).unwrap());
        give_to_nobody(&signal);
        self.begin();
    }

    /// Makes the standby a primary: on a timeline of its own.
    pub(crate) fn promote(&mut self) {
        run_program("pg_ctl", &["promote", "-D", self.data.to_str().unwrap()]);
        self.wait("it is promoted", |cluster| {
            cluster.application("postgres").value("SELECT pg_is_in_recovery()") == "f"
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.crash();
    }
}
