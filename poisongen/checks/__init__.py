"""What an audit checks, one module for each kind of check; `poisongen.auditor` puts them together."""
