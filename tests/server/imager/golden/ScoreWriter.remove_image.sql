DELETE FROM crystal.i_images WHERE crystal.i_images.inspectid = :inspectid_1 AND crystal.i_images.imagename = :imagename_1;

