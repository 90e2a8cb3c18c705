//! nginx's configuration language, as `ngx_conf_read_token` reads it. Pure.
//!
//! It is read to be assessed, never to be written: comments and quoting are dropped. Lua blocks (`..._by_lua_block {
//! }`) follow Lua's own lexical rules and are kept as one piece of code.

use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;
use std::sync::Arc;

/// One directive: a name, its arguments, and a block where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its name; in the body of a `map` or `geo` the key.
    pub name: String,
    /// Its arguments, unquoted.
    pub arguments: Vec<String>,
    /// The code of a `..._by_lua_block`, and the arguments of a `..._by_lua`, one of which is code.
    pub lua: Option<Lua>,
    /// What stands between its braces.
    pub block: Option<Vec<Directive>>,
    /// The absolute path of the file that it stands in.
    pub file: Arc<Path>,
}

/// Code that nginx runs; comments are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lua(pub String);

impl Directive {
    /// The first argument, if there is one.
    #[must_use]
    pub fn argument(&self) -> Option<&str> {
        self.arguments.first().map(String::as_str)
    }

    /// The directives in its block; none where it has no block.
    #[must_use]
    pub fn body(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Why a text is not an nginx configuration. As nginx itself printed it, that means that we read it wrongly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The text ended within something.
    #[error("the text ends within {0}")]
    Ends(&'static str),
    /// A character stands where it cannot.
    #[error("unexpected {0:?}")]
    Unexpected(char),
    /// Blocks within blocks within blocks.
    #[error("blocks are nested too deeply")]
    TooDeep,
}

/// How deep blocks may nest; nginx itself sets no limit, but our stack does.
const DEPTH: usize = 64;

/// Reads the whole text of `file`.
pub fn read(text: &str, file: &Arc<Path>) -> Result<Vec<Directive>, Unreadable> {
    Reader { file, rest: text.chars().peekable() }.block(0)
}

struct Reader<'a> {
    file: &'a Arc<Path>,
    rest: Peekable<Chars<'a>>,
}

/// What comes next at the beginning of a word.
enum Token {
    Word(String),
    Semicolon,
    Open,
    Close,
    End,
}

impl Reader<'_> {
    /// Directives up to the closing brace, or at depth 0 to the end.
    fn block(&mut self, depth: usize) -> Result<Vec<Directive>, Unreadable> {
        if depth > DEPTH {
            return Err(Unreadable::TooDeep);
        }
        let mut directives = Vec::new();
        loop {
            let name = match self.token()? {
                Token::Word(name) => name,
                Token::Close if depth > 0 => return Ok(directives),
                Token::End if depth == 0 => return Ok(directives),
                Token::End => return Err(Unreadable::Ends("a block")),
                Token::Close => return Err(Unreadable::Unexpected('}')),
                Token::Semicolon => return Err(Unreadable::Unexpected(';')),
                Token::Open => return Err(Unreadable::Unexpected('{')),
            };
            directives.push(self.directive(name, depth)?);
        }
    }

    fn directive(&mut self, name: String, depth: usize) -> Result<Directive, Unreadable> {
        let mut arguments = Vec::new();
        let (lua, block) = loop {
            match self.token()? {
                Token::Word(word) => arguments.push(word),
                Token::Semicolon => break (name.ends_with("_by_lua").then(|| Lua(arguments.join(" "))), None),
                Token::Open if name.ends_with("_by_lua_block") => break (Some(self.lua()?), None),
                Token::Open => break (None, Some(self.block(depth.saturating_add(1))?)),
                Token::Close => return Err(Unreadable::Unexpected('}')),
                Token::End => return Err(Unreadable::Ends("a directive")),
            }
        };
        Ok(Directive { name, arguments, lua, block, file: self.file.clone() })
    }

    fn token(&mut self) -> Result<Token, Unreadable> {
        loop {
            match self.rest.next() {
                None => return Ok(Token::End),
                Some(' ' | '\t' | '\r' | '\n') => {}
                Some('#') => while self.rest.next().is_some_and(|c| c != '\n') {},
                Some(';') => return Ok(Token::Semicolon),
                Some('{') => return Ok(Token::Open),
                Some('}') => return Ok(Token::Close),
                Some(quote @ ('"' | '\'')) => return self.quoted(quote).map(Token::Word),
                Some(first) => return self.bare(first).map(Token::Word),
            }
        }
    }

    /// Up to the matching quote; braces, semicolons and `#` within are text.
    fn quoted(&mut self, quote: char) -> Result<String, Unreadable> {
        let mut word = String::new();
        loop {
            match self.rest.next() {
                None => return Err(Unreadable::Ends("a quoted word")),
                Some('\\') => self.escaped(&mut word)?,
                Some(c) if c == quote => break,
                Some(c) => word.push(c),
            }
        }
        match self.rest.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | ';' | '{' | ')') => Ok(word),
            Some(other) => Err(Unreadable::Unexpected(*other)),
        }
    }

    /// Up to white space, `;` or `{` (but `${` goes on); `#`, `}` and quotes within are text.
    fn bare(&mut self, first: char) -> Result<String, Unreadable> {
        let mut word = String::new();
        if first == '\\' {
            self.escaped(&mut word)?;
        } else {
            word.push(first);
        }
        let mut after_dollar = first == '$';
        while let Some(&next) = self.rest.peek() {
            if matches!(next, ' ' | '\t' | '\r' | '\n' | ';') || (next == '{' && !after_dollar) {
                break;
            }
            self.rest.next();
            after_dollar = next == '$';
            if next == '\\' {
                self.escaped(&mut word)?;
            } else {
                word.push(next);
            }
        }
        Ok(word)
    }

    /// What follows a backslash: quotes and backslashes lose it, `\t \r \n` become those, everything else keeps it.
    fn escaped(&mut self, word: &mut String) -> Result<(), Unreadable> {
        match self.rest.next().ok_or(Unreadable::Ends("an escape"))? {
            c @ ('"' | '\'' | '\\') => word.push(c),
            't' => word.push('\t'),
            'r' => word.push('\r'),
            'n' => word.push('\n'),
            c => word.extend(['\\', c]),
        }
        Ok(())
    }

    /// Code up to the brace that closes the block; strings and comments of Lua may hold braces.
    fn lua(&mut self) -> Result<Lua, Unreadable> {
        const WITHIN: Unreadable = Unreadable::Ends("a Lua block");
        let mut code = String::new();
        let mut open = 1_usize;
        while let Some(c) = self.rest.next() {
            match c {
                '{' => open = open.saturating_add(1),
                '}' => open = open.saturating_sub(1),
                '-' if self.rest.next_if_eq(&'-').is_some() => {
                    let is_long = self.rest.next_if_eq(&'[').is_some() && self.lua_long()?.is_some();
                    while !is_long && self.rest.next_if(|c| *c != '\n').is_some() {}
                    continue;
                }
                '"' | '\'' => {
                    code.push(c);
                    loop {
                        match self.rest.next().ok_or(WITHIN)? {
                            '\\' => code.extend(['\\', self.rest.next().ok_or(WITHIN)?]),
                            end if end == c => break,
                            other => code.push(other),
                        }
                    }
                }
                '[' => {
                    if let Some(text) = self.lua_long()? {
                        code.push(' ');
                        code.push_str(&text);
                        continue;
                    }
                }
                _ => {}
            }
            if open == 0 {
                return Ok(Lua(code));
            }
            code.push(c);
        }
        Err(WITHIN)
    }

    /// The rest of a long bracket (`[[...]]`, `[=[...]=]`) whose first `[` was read; none, having read any `=`, if it
    /// is another bracket.
    fn lua_long(&mut self) -> Result<Option<String>, Unreadable> {
        let mut end = String::from("]");
        while self.rest.next_if_eq(&'=').is_some() {
            end.push('=');
        }
        end.push(']');
        if self.rest.next_if_eq(&'[').is_none() {
            return Ok(None);
        }
        let mut text = String::new();
        while !text.ends_with(&end) {
            text.push(self.rest.next().ok_or(Unreadable::Ends("a Lua string"))?);
        }
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Arc<Path> {
        Path::new("/nginx.conf").into()
    }

    fn leaf(name: &str, arguments: &[&str]) -> Directive {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Directive { name: name.into(), arguments, lua: None, block: None, file: here() }
    }

    #[test]
    fn quotes_comments_and_escapes_are_read_as_nginx_reads_them() {
        let read = read(
            concat!(
                "a 'x { # y;' \"q\\\"z\" w#x; # b c; {\n",
                "#d e;\n",
                "f ${g}h \\d \\\\; if ($x = \"\") { return 403; }\n",
                "\"~^SUCCESS\\|ab\\|\" \"current\";",
                "log_format m '$a'\n 'b';"
            ),
            &here(),
        )
        .unwrap();
        assert_eq!(
            read,
            [
                leaf("a", &["x { # y;", "q\"z", "w#x"]),
                leaf("f", &["${g}h", "\\d", "\\"]),
                Directive { block: Some(vec![leaf("return", &["403"])]), ..leaf("if", &["($x", "=", ""]) },
                leaf("~^SUCCESS\\|ab\\|", &["current"]),
                leaf("log_format", &["m", "$a", "b"]),
            ]
            .map(|mut directive| {
                // The closing parenthesis after a quoted word is a word of its own to the reader, as it is to nginx.
                if directive.name == "if" {
                    directive.arguments.push(")".into());
                }
                directive
            })
        );
    }

    #[test]
    fn lua_blocks_are_one_text_whatever_braces_their_strings_and_comments_hold() {
        let read = read(
            "access_by_lua_block { local a = {1, '}'} -- } comment\n --[[ } ]] if ngx.var.x == [[}]] then x[1] = 2 \
             end }\nlisten 1;",
            &here(),
        )
        .unwrap();
        assert_eq!(read.len(), 2);
        let Some(Lua(code)) = &read[0].lua else { panic!("{read:?}") };
        assert!(code.contains("ngx.var.x") && !code.contains("comment"), "{read:?}");
        assert_eq!(read[1], leaf("listen", &["1"]));
    }

    #[test]
    fn what_nginx_would_not_load_is_not_read() {
        for text in ["a", "a {", "}", "a \"x;", "a b }", ";", "{ }", "a 'x'y;", "a \\"] {
            assert!(read(text, &here()).is_err(), "{text}");
        }
        assert_eq!(read(&"a {".repeat(1000), &here()), Err(Unreadable::TooDeep));
    }
}
