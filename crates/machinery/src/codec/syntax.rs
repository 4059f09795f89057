//! Says where a JSON text is malformed in the words of the reference's scanner. Only texts that a
//! parser has already refused come here.
//!
//! Invariant: never panics, whatever the bytes; nesting is bounded.

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 10_000;

/// The message for a text that the parser refused with `error`.
pub(super) fn describe(text: &str, error: &serde_json::Error) -> String {
    let mut scan = Scan {
        bytes: text.as_bytes(),
        place: 0,
    };
    let why = match scan.document() {
        Err(why) => why,
        // The scanner sees nothing wrong: the parser's own bound on nesting was hit.
        Ok(()) if error.is_syntax() => "exceeded max depth".to_owned(),
        Ok(()) => error.to_string(),
    };
    format!("couldn't get version/kind; json parse error: {why}")
}

/// What kind of value a well-formed text starts with.
pub(super) fn form(text: &str) -> &'static str {
    match text.trim_start().bytes().next() {
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "bool",
        Some(b'{') => "object",
        Some(b'n') => "null",
        _ => "number",
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    place: usize,
}

type Step = Result<(), String>;

const END: &str = "unexpected end of JSON input";

impl Scan<'_> {
    fn document(&mut self) -> Step {
        self.value(0)?;
        match self.skip_space() {
            None => Ok(()),
            Some(byte) => Err(invalid(byte, "after top-level value")),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.place).copied()
    }

    fn next(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or(END)?;
        self.place += 1;
        Ok(byte)
    }

    fn skip_space(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.place += 1;
        }
        self.peek()
    }

    fn value(&mut self, depth: usize) -> Step {
        if depth > MAX_DEPTH.min(1_000) {
            return Err("exceeded max depth".to_owned());
        }
        match self.skip_space().ok_or(END)? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            other => Err(invalid(other, "looking for beginning of value")),
        }
    }

    fn object(&mut self, depth: usize) -> Step {
        self.place += 1;
        if self.skip_space() == Some(b'}') {
            self.place += 1;
            return Ok(());
        }
        loop {
            match self.skip_space().ok_or(END)? {
                b'"' => self.string()?,
                other => {
                    return Err(invalid(other, "looking for beginning of object key string"));
                }
            }
            match self.skip_space().ok_or(END)? {
                b':' => self.place += 1,
                other => return Err(invalid(other, "after object key")),
            }
            self.value(depth + 1)?;
            self.skip_space();
            match self.next()? {
                b',' => {}
                b'}' => return Ok(()),
                other => return Err(invalid(other, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Step {
        self.place += 1;
        if self.skip_space() == Some(b']') {
            self.place += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.skip_space();
            match self.next()? {
                b',' => {}
                b']' => return Ok(()),
                other => return Err(invalid(other, "after array element")),
            }
        }
    }

    fn string(&mut self) -> Step {
        self.place += 1;
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                byte if byte < 0x20 => return Err(invalid(byte, "in string literal")),
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Step {
        match self.next()? {
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    let byte = self.next()?;
                    if !byte.is_ascii_hexdigit() {
                        return Err(invalid(byte, "in \\u hexadecimal character escape"));
                    }
                }
                Ok(())
            }
            other => Err(invalid(other, "in string escape code")),
        }
    }

    fn literal(&mut self, word: &str) -> Step {
        for wanted in word.bytes() {
            let byte = self.next()?;
            if byte != wanted {
                let context = format!("in literal {word} (expecting {})", quote(wanted));
                return Err(invalid(byte, &context));
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Step {
        if self.peek() == Some(b'-') {
            self.place += 1;
        }
        match self.next()? {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            other => return Err(invalid(other, "in numeric literal")),
        }
        if self.peek() == Some(b'.') {
            self.place += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.place += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.place += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn some_digits(&mut self, context: &str) -> Step {
        let byte = self.next()?;
        if !byte.is_ascii_digit() {
            return Err(invalid(byte, context));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.place += 1;
        }
    }
}

fn invalid(byte: u8, context: &str) -> String {
    format!("invalid character {} {context}", quote(byte))
}

fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x20..=0x7e => format!("'{}'", char::from(byte)),
        0x80.. => format!("'{}'", char::from(byte)),
        _ => format!("'\\x{byte:02x}'"),
    }
}
