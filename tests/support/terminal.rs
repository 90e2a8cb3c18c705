//! A person at a real terminal, who reads what a command shows and types an answer.

use std::process::Command;
use std::time::Instant;

use crate::sandbox::Ran;

/// Runs the command at a pseudo-terminal of its own. Of each pair, once the first has been shown, the second is typed; where
/// that is `@PATH`, a file of that name is made, and the answer is `no` once it is gone.
const PERSON: &str = r#"
import json, os, pty, select, sys, time
dialogue, argv = json.loads(sys.argv[1]), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(argv[0], argv)
shown, ends = b"", time.monotonic() + 120
def read():
    global shown
    if time.monotonic() > ends:
        sys.exit(f"it did not end: {shown!r}")
    if select.select([terminal], [], [], 1)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            return False
        shown += piece
        return bool(piece)
    return True
for words, typed in dialogue:
    while words.encode() not in shown:
        if not read():
            break
    else:
        if typed.startswith("@"):
            open(typed[1:], "w").close()
            while os.path.exists(typed[1:]) and time.monotonic() < ends:
                time.sleep(0.01)
            typed = "no\n"
        os.write(terminal, typed.encode())
while read():
    pass
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.buffer.write(shown)
sys.exit(code)
"#;

/// What came of it: all that the terminal showed, and the exit code.
pub fn run(command: &Command, dialogue: &[(&str, &str)]) -> Ran {
    let mut person = Command::new("/usr/bin/python3");
    person.args(["-c", PERSON, &serde_json::to_string(dialogue).unwrap()]);
    person.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        person.env(name, value.unwrap_or_default());
    }
    if let Some(folder) = command.get_current_dir() {
        person.current_dir(folder);
    }
    let begun = Instant::now();
    Ran::of(person.output().expect("python3"), begun.elapsed())
}
