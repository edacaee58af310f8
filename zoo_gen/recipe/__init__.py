"""What a zoo is made from: a recipe, from which every row follows."""
