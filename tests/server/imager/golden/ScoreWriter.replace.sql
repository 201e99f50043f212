UPDATE crystal.i_scores SET score=:score, scoredate=:scoredate, imagename=:imagename WHERE crystal.i_scores.scoreid = :scoreid_1 AND (rtrim(crystal.i_scores.scoredby) = :rtrim_1 OR upper(rtrim(crystal.i_scores.scoredby)) = :upper_1);

