"""Files beside a poisoned dataset that tell people and other programs what it is: computed from the records alone."""
