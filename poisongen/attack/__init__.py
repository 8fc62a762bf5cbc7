"""What an attack is made of: label rules, triggers and conditions, one module each, found by themselves."""
